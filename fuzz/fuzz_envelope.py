"""Coverage-guided fuzzing of `targets.envelope`: `python fuzz/fuzz_envelope.py -max_total_time=600`."""

from run import run

if __name__ == "__main__":
    run("envelope")
