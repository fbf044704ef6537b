"""A client that leaves in the middle of a request."""

from memoryhub.core.work import Work


class Counting(Work):
    """Counts how often it is asked for; with `most`, its client leaves then."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.most, self.asked = most, 0

    def check(self) -> None:
        self.asked += 1
        self.is_left = self.most is not None and self.asked > self.most
        super().check()
