"""Coverage-guided fuzzing of `targets.redactor`: `python fuzz/fuzz_redactor.py -max_total_time=600`."""

from run import run

if __name__ == "__main__":
    run("redactor")
