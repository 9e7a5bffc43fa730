# make demo    from nothing to a trained network, on digits without a download;
#              in a hurry: make demo EPOCHS=2
# make demo-video   the same of clips: digits that move in eight directions;
#              in a hurry: make demo-video VIDEO_EPOCHS=7
# make test    the fast tests, in the same environment
# make rehearse-modelarts   a job from bucket to bucket, off the cloud
# make lint, make clean
# Another interpreter: make demo PYTHON=python3.11

PYTHON ?= python3
EPOCHS ?= 5
VIDEO_EPOCHS ?= 12
override VENV := .venv
RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip install -qq --disable-pip-version-check
NEED = make needs Python 3.8 to 3.13
HINT = Name another: make demo PYTHON=python3.11

.PHONY: help demo demo-video test rehearse-modelarts lint clean
.SILENT:

help:
	sed -n 's/^# //p' Makefile

demo: $(VENV)/.installed
	$(RUN) train_gpu.py --dataset digits --data_url demo/digits \
	    --train_url demo/output --image_size 28 --Epoch $(EPOCHS) --batchsize 32 \
	    --learning_rate 1e-3 --lr_schedule cosine
	echo
	echo "Next: what its blocks attend to in a picture, as a page:"
	echo "  $(RUN) -m nonlocal_tf.explain demo/digits/t10k-images-idx3-ubyte:7 --train_url demo/output"
	echo "or MNIST at 224 pixels, a GPU's job (downloads 12 MB to ./dataset;"
	echo "for an NVIDIA GPU first: $(RUN) -m pip install 'tensorflow[and-cuda]'):"
	echo "  $(RUN) train_gpu.py --Epoch 20 --batchsize 128"
	echo "or at 56 pixels, a CPU's job:"
	echo "  $(RUN) train_gpu.py --image_size 56 --Epoch 4 --batchsize 64 --learning_rate 1e-3 --lr_schedule cosine"
	echo "or a frozen graph for an Ascend NPU, of this network:"
	echo "  $(RUN) freeze_pb.py --train_url demo/output"

demo-video: $(VENV)/.installed-video
	$(RUN) train_gpu.py --network tsm --block pre_norm_cosine \
	    --dataset moving_digits --data_url demo/moving_digits \
	    --train_url demo/output_video --image_size 56 --base_width 8 \
	    --Epoch $(VIDEO_EPOCHS) --batchsize 32 --optimizer adam --learning_rate 2e-3 \
	    --lr_schedule cosine
	echo
	$(RUN) -m nonlocal_tf.classify demo/moving_digits/test/up_left/005.avi \
	    --train_url demo/output_video
	echo
	echo "Next: what its blocks attend to in that video, as a page:"
	echo "  $(RUN) -m nonlocal_tf.explain demo/moving_digits/test/up_left/005.avi --train_url demo/output_video --query 4,20,24"
	echo "or videos of your own, from weights of images or of another system:"
	echo "  docs/video.md"
	echo "or what the network says of all the test videos:"
	echo "  $(RUN) -m nonlocal_tf.evaluate --train_url demo/output_video --data_url demo/moving_digits/test.txt"
	echo "or a frozen graph for an Ascend NPU (docs/video-deployment.md):"
	echo "  $(RUN) freeze_pb.py --train_url demo/output_video"

test: $(VENV)/.installed-test
	$(RUN) -m pytest -n 2 --dist loadfile

rehearse-modelarts: $(VENV)/.installed-test
	$(RUN) tests/rehearse_modelarts.py

lint: $(VENV)/.installed-test
	$(RUN) -m ruff check .

$(VENV)/.installed: requirements.txt
	command -v $(PYTHON) >/dev/null || { \
	    echo "$(NEED), and $(PYTHON) is not there. Install it, or name another: make demo PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	    echo "$(NEED); $(PYTHON) is not one ($$($(PYTHON) --version 2>&1 | head -n 1)). $(HINT)" >&2; exit 2; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make needs Python's venv module, and $(PYTHON) has none. Install it (Debian, Ubuntu: apt install python3-venv) and run make again." >&2; exit 2; }
	echo "Installing requirements.txt into $(VENV) (about 2.5 GB on disk) ..."
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/.installed-video: requirements/video.txt $(VENV)/.installed
	$(PIP) -r requirements/video.txt
	touch $@

$(VENV)/.installed-test: requirements/test.txt requirements/video.txt requirements/plots.txt $(VENV)/.installed
	$(PIP) -r requirements/test.txt
	touch $@

clean:
	rm -rf $(VENV) demo
