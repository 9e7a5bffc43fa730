"""What ModelArts starts: prints where it is and runs train_modelarts.py.

    python boot_modelarts.py --data_url=obs://bucket/mnist/ --train_url=obs://bucket/run/
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)                # whatever the working directory is

from nonlocal_tf.boot import boot  # noqa: E402

if __name__ == "__main__":
    sys.exit(boot(os.path.join(HERE, "train_modelarts.py"), sys.argv[1:]))
