from ._errors import TickertapeError
