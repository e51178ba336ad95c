"""What is ordered before what: vector clocks of streams, events and the host.

Each piece of work on a stream is at a time of that stream, and knows up to which time
of every other stream, and of the host, it comes after. Two accesses to one block of
memory, one of them a write, must be ordered; otherwise a device might do them in any
order, whatever a fake one does.
"""

HOST = "host"


def joined(*clocks):
    out = {}
    for clock in clocks:
        for who, time in clock.items():
            out[who] = max(out.get(who, 0), time)
    return out


class HappensBefore:
    """The clocks, and who touched which block.

    Attributes
    ----------
    faults : list of str
        Accesses that nothing orders.
    """

    def __init__(self):
        self.clocks = {HOST: {HOST: 0}}  # of each actor: what it comes after
        self.events = {}
        self.touched = {}  # block → (last write, reads since), as (actor, time, what)
        self.faults = []

    def clock(self, actor):
        return self.clocks.setdefault(actor, {})

    def work(self, stream):
        """Note that the host asks a stream for work."""
        host = self.clock(HOST)
        host[HOST] += 1
        clock = joined(self.clock(stream), host)
        clock[stream] = clock.get(stream, 0) + 1
        self.clocks[stream] = clock

    def record(self, event, stream):
        self.work(stream)
        self.events[event] = dict(self.clock(stream))

    def wait(self, stream, event):
        self.clocks[stream] = joined(self.clock(stream), self.events.get(event, {}))

    def wait_on_host(self, clock):
        self.clocks[HOST] = joined(self.clock(HOST), clock)

    def knows(self, actor, other, time):
        return self.clock(actor).get(other, 0) >= time

    def touch(self, actor, block, writes, what):
        """Note an access, by what the actor was asked for last."""
        last, reads = self.touched.get(block, (None, []))
        before = [last] if last else []
        for other, time, earlier in before + (reads if writes else []):
            if not self.knows(actor, other, time):
                self.faults.append(f"{what} on {actor} may run before {earlier} ends")
        access = actor, self.clock(actor).get(actor, 0), what
        self.touched[block] = (access, []) if writes else (last, [*reads, access])

    def forget(self, block):
        self.touched.pop(block, None)
