"""`python -m nonlocal_tf`: every command, listed and run."""

import os
import subprocess
import sys

import pytest
from support import ROOT

from nonlocal_tf import __main__ as front_door


def test_without_a_command_all_are_listed(capsys):
    assert front_door.main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(front_door.COMMANDS)
    assert max(map(len, lines)) < 80


def test_every_program_of_the_package_is_a_command():
    programs = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "nonlocal_tf")):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py") and path != front_door.__file__:
                with open(path, encoding="utf-8") as file:
                    if 'if __name__ == "__main__"' in file.read():
                        programs.add(os.path.relpath(
                            path, os.path.join(ROOT, "nonlocal_tf")))
    homes = {home.replace(".", os.sep) + ".py"
             for home, _ in front_door.COMMANDS.values()}
    assert programs <= homes
    assert homes - programs == {os.path.join("training", "command.py"),
                                os.path.join("export", "freeze.py")}


def test_help_of_each_is_quick():
    """None loads TensorFlow; those of a frozen graph come without NumPy."""
    light = ["freeze", "preflight"]
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n"
         "import freeze_pb, train_gpu, train_modelarts\n"
         "from nonlocal_tf import __main__ as front_door\n"
         "for name in sys.argv[1:]:\n"
         "    try: front_door.main([name, '--help'])\n"
         "    except SystemExit as end: assert not end.code, name\n"
         "    assert not {'tensorflow', 'cv2'} & set(sys.modules), name\n"
         "    assert name not in " + repr(light)
         + " or 'numpy' not in sys.modules, name"]
        + light + [name for name in front_door.COMMANDS if name not in light],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(front_door.COMMANDS)


def test_a_file_that_is_not_there_is_said_before_tensorflow_comes():
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n"
         "from nonlocal_tf import __main__ as front_door\n"
         "for line in sys.argv[1:]:\n"
         "    assert front_door.main(line.split()) == 2, line\n"
         "    assert not {'tensorflow', 'numpy'} & set(sys.modules), line",
         "preflight no.pb", "msame --model no.pb --output no",
         "ais_bench --model no.pb --output no"],
        cwd=ROOT, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("'no.pb': No such file") == 3


def test_a_misspelt_command_is_one_line(capsys):
    assert front_door.main(["clasify", "x.mp4"]) == 2
    error = capsys.readouterr().err
    assert "did you mean classify?" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["explain", "classify", "train"])
def test_a_python_without_the_packages_is_one_line(name):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "nonlocal_tf", name, "x"], cwd=ROOT,
        stderr=subprocess.PIPE, universal_newlines=True,
        env={"PATH": os.environ["PATH"]})
    assert done.returncode == 2
    assert "pip install -r requirements.txt" in done.stderr
    assert done.stderr.count("\n") == 1


def test_flags_are_the_commands_own(capsys):
    assert front_door.main(["check-videos", "none.txt"]) == 2
    assert "none.txt" in capsys.readouterr().err
