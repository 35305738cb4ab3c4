"""Coverage-guided fuzzing of `targets.control`: `python fuzz/fuzz_control.py -max_total_time=600`."""

from run import run

if __name__ == "__main__":
    run("control")
