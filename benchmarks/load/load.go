package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand"
	"net"
	"strings"
	"syscall"
	"time"
)

const (
	never  = math.MaxInt64
	linger = 200 * time.Millisecond // for chunks that nobody has asked for
)

// Load is one run: its connections, when what is due, and what came of it.
type Load struct {
	options
	*loop
	speech      dialect
	family      int
	server      syscall.Sockaddr
	request     []byte
	frame       []byte
	connections []connection
	random      *rand.Rand

	dialled, open, underWay int
	connectTook             time.Duration
	handshakes              Histogram

	starts      []start // first messages of a closed loop, by time
	thinking    []start // their next ones: all think for the same time, so the first to come is the first to go
	arrival     int64   // the next message of an open loop
	turnOf      int     // whose it is
	asked       int
	sent        int
	outstanding int // messages due and not answered in full
	ends        int64
	last        int64

	chunksSeen, replies, inTime int
	first, between, whole       Histogram
	wholeSum                    int64 // ns
	faults                      faults
}

type start struct {
	due int64
	c   *connection
}

func open(o options) (*Load, error) {
	speech, err := dialectNamed(o.dialect)
	if err != nil {
		return nil, err
	}
	loop, err := newLoop(o.rest)
	if err != nil {
		return nil, err
	}
	l := &Load{options: o, loop: loop, speech: speech, random: rand.New(rand.NewSource(o.seed)), arrival: never}
	if err := l.aim(); err != nil {
		return nil, err
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		if uint64(o.connections)+20 > limit.Max {
			return nil, fmt.Errorf("%d connections need more descriptors than this process may have, %d (ulimit -Hn)", o.connections, limit.Max)
		}
	}
	l.connections = make([]connection, o.connections)
	for slot := range l.connections {
		l.connections[slot].slot, l.connections[slot].descriptor = slot, -1
	}
	return l, nil
}

func (l *Load) aim() error {
	address, err := net.ResolveTCPAddr("tcp", l.address)
	if err != nil {
		return err
	}
	if four := address.IP.To4(); four != nil {
		server := &syscall.SockaddrInet4{Port: address.Port}
		copy(server.Addr[:], four)
		l.family, l.server = syscall.AF_INET, server
	} else {
		server := &syscall.SockaddrInet6{Port: address.Port}
		copy(server.Addr[:], address.IP.To16())
		l.family, l.server = syscall.AF_INET6, server
	}
	host := l.host
	if host == "" {
		host = l.address
	}
	l.request = []byte(strings.Join([]string{
		"GET " + l.path + " HTTP/1.1", "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + nonce, "Sec-WebSocket-Version: 13", "User-Agent: llm-chat-load", "", ""}, "\r\n"))
	return nil
}

// connect returns when all connections are open or have failed.
func (l *Load) connect() {
	begin := l.now()
	ends := int64(never)
	for l.dialled < len(l.connections) || l.underWay > 0 {
		due := l.dialAll(begin)
		if l.dialled == len(l.connections) && ends == never {
			ends = l.now() + int64(l.patience)
		}
		if l.now() > ends {
			break
		}
		l.turn(minimum(due, l.now()+int64(time.Second)), l.handle, func(int64) {})
	}
	for i := range l.connections {
		if c := &l.connections[i]; c.state != ready && c.state != gone {
			l.refuse(c, "no answer to the handshake")
		}
	}
	l.connectTook = time.Duration(l.now() - begin)
}

// dialAll begins the connections that are due and returns when the next one is.
func (l *Load) dialAll(begin int64) int64 {
	for l.dialled < len(l.connections) {
		due := l.now()
		if l.connectRate > 0 {
			due = begin + int64(float64(l.dialled)/l.connectRate*1e9)
			if due > l.now() {
				return due
			}
		} else if l.underWay >= l.inFlight {
			return never
		}
		l.dialled++
		l.dial(&l.connections[l.dialled-1], due)
	}
	return never
}

// told waits for the next command; pings are answered meanwhile.
func (l *Load) told() bool { return l.line(l.handle) }

// chat sends messages for the run's seconds and returns when all are answered, or patience has ended.
func (l *Load) chat() {
	l.begun()
	for now := l.now(); now < l.ends || l.outstanding > 0 && now < l.ends+int64(l.patience); now = l.now() {
		if now >= l.ends {
			l.starts, l.thinking, l.arrival = nil, nil, never
		}
		if l.done() {
			break
		}
		due := l.ends + int64(l.patience)
		if now < l.ends {
			due = l.ends
		}
		l.turn(minimum(due, l.nextDue()), l.handle, l.timed)
	}
	l.last = l.now()
	for _, c := range l.connections {
		if c.next != 0 {
			l.faults.Missing += l.chunks - c.next + 1
			l.faults.say("connection %d still awaits chunk %d of its message %d", c.slot, c.next, c.number)
		}
		l.faults.Missing += len(c.line) * l.chunks
	}
	for until := l.now() + int64(linger); l.now() < until && l.seconds > 0; {
		l.turn(until, l.handle, func(int64) {})
	}
}

// done: an open loop with a number of messages ends with the last reply.
func (l *Load) done() bool { return l.once > 0 && l.asked == l.once && l.outstanding == 0 }

func (l *Load) begun() {
	now := l.now()
	l.ends, l.last = now+int64(l.seconds), now
	if l.seconds == 0 {
		return
	}
	if l.stalled {
		for i := range l.connections {
			if c := &l.connections[i]; c.state == ready {
				_ = l.watch(syscall.EPOLL_CTL_DEL, c.descriptor, c.slot, 0)
			}
		}
	}
	if l.rate > 0 {
		l.arrival = now + l.gap()
		return
	}
	for i := range l.connections {
		at := int64(0)
		if l.spread > 0 {
			at = int64(l.spread) * int64(i) / int64(len(l.connections))
		}
		l.starts = append(l.starts, start{now + at, &l.connections[i]})
	}
}

// gap between two moments of a Poisson process.
func (l *Load) gap() int64 { return int64(l.random.ExpFloat64() / l.rate * 1e9) }

func (l *Load) nextDue() int64 {
	due := l.arrival
	for _, queue := range [][]start{l.starts, l.thinking} {
		if len(queue) > 0 {
			due = minimum(due, queue[0].due)
		}
	}
	return due
}

func (l *Load) timed(now int64) {
	l.starts, l.thinking = l.sendDue(l.starts, now), l.sendDue(l.thinking, now)
	for l.arrival <= now {
		l.ask(&l.connections[l.turnOf], l.arrival)
		l.turnOf = (l.turnOf + 1) % len(l.connections)
		l.asked++
		l.arrival += l.gap()
		if l.once > 0 && l.asked == l.once {
			l.arrival, l.ends = never, minimum(l.ends, now)
		}
	}
}

func (l *Load) sendDue(queue []start, now int64) []start {
	for len(queue) > 0 && queue[0].due <= now {
		if queue[0].c.state == ready {
			l.send(queue[0].c, queue[0].due)
		}
		queue = queue[1:]
	}
	return queue
}

// ask sends a message now, or when the reply before it has ended. Either way it counts from when it was due.
func (l *Load) ask(c *connection, due int64) {
	switch {
	case c.state != ready:
	case c.next != 0:
		c.line = append(c.line, due)
		l.outstanding++
	default:
		l.send(c, due)
	}
}

func (l *Load) chunk(c *connection, got []byte) {
	now := l.now()
	before := c.next
	next, counts := l.faults.check(got, c.message, c.next, l.chunks)
	c.next = next
	if !counts && before != 0 && bytes.HasPrefix(got, []byte("error: ")) { // nothing more comes of this message
		l.faults.Missing += l.chunks - before + 1
		l.ended(c, now)
	}
	if !counts {
		return
	}
	l.chunksSeen++
	if now <= l.ends {
		l.inTime++
	}
	if before == 1 {
		l.first.add((now - c.due) / 1000)
	} else {
		l.between.add((now - c.last) / 1000)
	}
	c.last = now
	if next > l.chunks {
		l.replied(c, now)
	}
}

func (l *Load) replied(c *connection, now int64) {
	l.whole.add((now - c.due) / 1000)
	l.wholeSum += now - c.due
	l.replies++
	l.ended(c, now)
}

// ended: the connection asks again, if it is to.
func (l *Load) ended(c *connection, now int64) {
	l.outstanding--
	c.next = 0
	switch {
	case len(c.line) > 0:
		due := c.line[0]
		c.line = c.line[1:]
		l.outstanding--
		l.send(c, due)
	case l.rate > 0 || now >= l.ends:
	case l.think > 0:
		l.thinking = append(l.thinking, start{now + int64(l.think), c})
	default:
		l.send(c, now)
	}
}

func minimum(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
