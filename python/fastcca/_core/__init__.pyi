# One stub for the extension modules of every CPU level: they offer the same names.

level: str
compiler: str
eigen: str
levels_built: list[str]

def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
