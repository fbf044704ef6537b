import time
from tests import test_query_counts as q
def test_x():
    t=time.perf_counter(); c=time.process_time()
    def lap(n):
        nonlocal t,c
        a,b=time.perf_counter(),time.process_time()
        print(n, round(a-t,2), round(b-c,2)); t,c=a,b
    w=q.make_world(); lap("world")
    q.measure(w); lap("measure1")
    q.remember(w,99); lap("remember")
    q.add_tasks(w,[q.unique("t") for _ in range(99)],escalated=True); lap("tasks")
    q.grow(w,1); lap("grow1")
    for path in q.API:
        q.queries(lambda: w.api.get(path.format(**w.rows)).status); lap(path)
    for path in q.DESK:
        q.queries(lambda: w.desk.get(path.format(**w.rows), headers={"Accept":"text/html"}).status_code); lap(path)
