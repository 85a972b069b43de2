package main

import (
	"bytes"
	"fmt"
	"strconv"
	"syscall"
)

const (
	fresh = iota
	connecting
	shaking  // the upgrade is on its way
	greeting // the dialect's own
	ready
	gone
)

// The example of RFC 6455, 1.3.
const (
	nonce  = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// connection is one WebSocket; its message is answered by `chunks` chunks before the next one is sent.
type connection struct {
	slot       int
	descriptor int
	state      uint8
	rest       []byte  // the beginning of a frame, or of the handshake's answer
	line       []int64 // when the messages were due that wait for the reply that runs
	number     int     // of the message
	message    []byte
	next       int   // the chunk that is awaited; 0: none
	due        int64 // when the message should have been sent; the handshake, before that
	last       int64 // when the last chunk came
}

func (l *Load) dial(c *connection, due int64) {
	c.due, c.state = due, connecting
	l.underWay++
	err := l.begin(c)
	if err != nil && err != syscall.EINPROGRESS {
		l.refuse(c, err.Error())
		return
	}
	if err := l.watch(syscall.EPOLL_CTL_ADD, c.descriptor, c.slot, syscall.EPOLLOUT); err != nil {
		l.refuse(c, err.Error())
	}
}

func (l *Load) begin(c *connection) error {
	descriptor, err := syscall.Socket(l.family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		c.descriptor = -1
		return err
	}
	c.descriptor = descriptor
	_ = syscall.SetsockoptInt(descriptor, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if l.stalled {
		_ = syscall.SetsockoptInt(descriptor, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
	}
	if l.sources > 0 {
		const bindAddressNoPort = 24 // ip(7): the port is chosen at connect, so that one serves several addresses
		_ = syscall.SetsockoptInt(descriptor, syscall.IPPROTO_IP, bindAddressNoPort, 1)
		from := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + c.slot%l.sources)}}
		if err := syscall.Bind(descriptor, from); err != nil {
			return err
		}
	}
	return syscall.Connect(descriptor, l.server)
}

func (l *Load) refuse(c *connection, why string) {
	l.faults.Refused++
	l.faults.say("connection %d: %s", c.slot, why)
	l.underWay--
	l.leave(c)
}

func (l *Load) leave(c *connection) {
	if c.descriptor >= 0 {
		_ = syscall.Close(c.descriptor)
	}
	c.state = gone
}

// write sends all of it, or fails: what a client sends is so small that a server that serves takes it.
func (l *Load) write(c *connection, data []byte) bool {
	n, err := syscall.Write(c.descriptor, data)
	return err == nil && n == len(data)
}

func (l *Load) handle(slot int, events uint32) {
	c := &l.connections[slot]
	if c.state == connecting {
		l.upgrade(c)
		return
	}
	n, err := syscall.Read(c.descriptor, l.buffer[:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
	case err != nil || n <= 0:
		l.lost(c, err)
	case c.state == shaking:
		l.shaken(c, l.buffer[:n])
	default:
		l.received(c, l.buffer[:n])
	}
}

func (l *Load) upgrade(c *connection) {
	if code, err := syscall.GetsockoptInt(c.descriptor, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || code != 0 {
		l.refuse(c, syscall.Errno(code).Error())
		return
	}
	c.state = shaking
	if !l.write(c, l.request) {
		l.refuse(c, "the upgrade could not be sent")
		return
	}
	_ = l.watch(syscall.EPOLL_CTL_MOD, c.descriptor, c.slot, syscall.EPOLLIN)
}

func (l *Load) shaken(c *connection, data []byte) {
	c.rest = append(c.rest, data...)
	end := bytes.Index(c.rest, []byte("\r\n\r\n"))
	if end < 0 {
		return
	}
	head, behind := c.rest[:end], c.rest[end+4:]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) || !bytes.Contains(head, []byte(accept)) {
		l.refuse(c, fmt.Sprintf("%.80q", head))
		return
	}
	c.rest = nil
	if l.speech.greet == "" {
		l.welcome(c)
	} else {
		c.state = greeting
		l.write(c, appendFrame(nil, text, l.speech.greet))
	}
	if len(behind) > 0 {
		l.received(c, behind)
	}
}

func (l *Load) welcome(c *connection) {
	c.state = ready
	l.underWay--
	l.open++
	l.handshakes.add((l.now() - c.due) / 1000)
}

func (l *Load) lost(c *connection, err error) {
	if c.state < ready {
		l.refuse(c, fmt.Sprintf("closed in the handshake: %v", err))
		return
	}
	l.faults.Closed++
	l.faults.say("connection %d was closed: %v", c.slot, err)
	if c.next != 0 {
		l.faults.Missing += l.chunks - c.next + 1
		l.outstanding--
	}
	l.outstanding -= len(c.line)
	l.faults.Missing += len(c.line) * l.chunks
	c.next, c.line = 0, nil
	l.open--
	l.leave(c)
}

func (l *Load) received(c *connection, data []byte) {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	for c.state != gone {
		opcode, final, payload, size, whole := frame(data)
		if !whole {
			break
		}
		data = data[size:]
		l.framed(c, opcode, final, payload)
	}
	if len(data) == 0 {
		c.rest = nil
	} else {
		c.rest = append([]byte(nil), data...)
	}
}

func (l *Load) framed(c *connection, opcode byte, final bool, payload []byte) {
	switch {
	case opcode == text && final && l.speech.lines:
		for _, line := range bytes.Split(payload, []byte{'\n'}) {
			l.said(c, line)
		}
	case opcode == text && final:
		l.said(c, payload)
	case opcode == ping:
		l.write(c, appendFrame(nil, pong, string(payload)))
	case opcode == pong:
	case opcode == closing:
		l.lost(c, fmt.Errorf("close frame %.60q", payload))
	default:
		l.faults.Wrong++
		l.faults.say("a frame with opcode %d", opcode)
	}
}

func (l *Load) said(c *connection, line []byte) {
	s := &l.speech
	switch {
	case s.ping != "" && string(line) == s.ping:
		l.write(c, appendFrame(nil, text, s.pong))
		return
	case s.noise != "" && bytes.HasPrefix(line, []byte(s.noise)) || s.lines && len(line) == 0:
		return
	case c.state == greeting && bytes.Contains(line, []byte(s.ready)):
		l.welcome(c)
		return
	}
	chunk, ok := s.chunk(line)
	if !ok {
		l.faults.Wrong++
		l.faults.say("not a chunk: %.80q", line)
		return
	}
	l.chunk(c, chunk)
}

func (l *Load) send(c *connection, due int64) {
	c.number++
	c.message = appendMessage(c.message[:0], c.slot, c.number, l.size)
	c.due, c.last = due, 0
	l.frame = appendFrame(l.frame[:0], text, l.speech.askBefore, string(c.message), l.speech.askAfter)
	l.sent++
	if !l.write(c, l.frame) {
		l.faults.Blocked++
		if !l.stalled {
			l.lost(c, fmt.Errorf("a message could not be sent"))
		}
		return
	}
	if !l.stalled {
		c.next = 1
		l.outstanding++
	}
}

// appendMessage makes one that no other connection sends, nor this one again.
func appendMessage(to []byte, slot int, number int, size int) []byte {
	to = append(to, 'c')
	to = strconv.AppendInt(to, int64(slot), 10)
	to = append(to, '.')
	to = strconv.AppendInt(to, int64(number), 10)
	to = append(to, ' ')
	for len(to) < size {
		to = append(to, 'x')
	}
	return to
}
