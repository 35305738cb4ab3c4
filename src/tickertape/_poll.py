def read_outcome(value, failures): raise NotImplementedError
