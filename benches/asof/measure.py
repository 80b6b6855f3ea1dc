"""Runs a command that prints one line of JSON, and adds what it took of CPU and memory.

    python measure.py COMMAND ...

A process begins with the peak of the one that started it, so that one must be small: this is.
"""

import json
import os
import subprocess
import sys

process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
told = process.stdout.read()
_, status, usage = os.wait4(process.pid, 0)
if status != 0:
    sys.exit(f"{sys.argv[1:]} failed")
own = {"cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
print(json.dumps(json.loads(told) | own))
