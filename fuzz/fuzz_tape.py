"""Coverage-guided fuzzing of `targets.tape`: `python fuzz/fuzz_tape.py -max_total_time=600`."""

from run import run

if __name__ == "__main__":
    run("tape")
