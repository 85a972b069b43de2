package main

import (
	"syscall"
	"time"
	"unsafe"
)

const (
	epollPwait2 = 441 // Linux 5.11: a time-out in nanoseconds
	batch       = 512
)

// loop waits for sockets and for time, and knows how late it is itself.
type loop struct {
	epoll  int
	base   time.Time
	events [batch]syscall.EpollEvent
	buffer [1 << 17]byte
	rest   time.Duration // between two looks at the sockets, at least: fewer looks cost less, but stamp up to this too late
	woke   int64
	lag    Histogram // µs between the moment at which something could first have been handled and its end
}

func newLoop(rest time.Duration) (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &loop{epoll: epoll, base: time.Now(), rest: rest}, err
}

// now is in nanoseconds.
func (l *loop) now() int64 { return int64(time.Since(l.base)) }

// turn waits until `due` at the latest, then calls `handle` for each socket that is ready and `timed` for the rest.
func (l *loop) turn(due int64, handle func(slot int, events uint32), timed func(now int64)) {
	if rests := l.woke + int64(l.rest) - l.now(); rests > 0 {
		time.Sleep(time.Duration(rests))
	}
	n := l.wait(due - l.now())
	woke := l.now()
	l.woke = woke
	started := woke
	if n == 0 && due < woke {
		started = due // overslept: whatever is due now is late
	}
	timed(woke)
	for _, event := range l.events[:n] {
		handle(int(event.Fd), event.Events)
	}
	l.lag.add((l.now() - started) / 1000)
}

func (l *loop) wait(nanoseconds int64) int {
	if nanoseconds < 0 {
		nanoseconds = 0
	}
	limit := syscall.NsecToTimespec(nanoseconds)
	n, _, errno := syscall.Syscall6(epollPwait2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), batch,
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno == syscall.ENOSYS {
		found, _ := syscall.EpollWait(l.epoll, l.events[:], int((nanoseconds+999_999)/1_000_000))
		n, errno = uintptr(found), 0
	}
	if errno != 0 || int(n) < 0 {
		return 0
	}
	return int(n)
}

// line waits for one on standard input and serves the sockets meanwhile; false at its end.
func (l *loop) line(handle func(slot int, events uint32)) bool {
	const input = -1
	var letter [1]byte
	ended := false
	for whole := false; !whole && !ended; {
		if l.watch(syscall.EPOLL_CTL_ADD, 0, input, syscall.EPOLLIN) != nil {
			n, err := syscall.Read(0, letter[:]) // a file: it never keeps anybody waiting
			whole, ended = letter[0] == '\n', n < 1 || err != nil
			continue
		}
		readable := false
		for !readable {
			l.turn(l.now()+int64(time.Second), func(slot int, events uint32) {
				if slot == input {
					readable = true
				} else {
					handle(slot, events)
				}
			}, func(int64) {})
		}
		n, err := syscall.Read(0, letter[:])
		whole, ended = n == 1 && letter[0] == '\n', n < 1 && err != syscall.EINTR
		_ = l.watch(syscall.EPOLL_CTL_DEL, 0, input, 0)
	}
	return !ended
}

func (l *loop) watch(operation int, descriptor int, slot int, events uint32) error {
	return syscall.EpollCtl(l.epoll, operation, descriptor, &syscall.EpollEvent{Events: events, Fd: int32(slot)})
}
