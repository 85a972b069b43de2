package main

import (
	"encoding/binary"
	"math/rand"
)

const (
	continuation = 0
	text         = 1
	closing      = 8
	ping         = 9
	pong         = 10
)

// appendFrame adds one masked frame (RFC 6455, 5.2) of a client.
func appendFrame(to []byte, opcode byte, parts ...string) []byte {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	to = append(to, 0x80|opcode)
	switch {
	case size < 126:
		to = append(to, 0x80|byte(size))
	case size < 1<<16:
		to = append(to, 0x80|126, byte(size>>8), byte(size))
	default:
		to = append(to, 0x80|127)
		to = binary.BigEndian.AppendUint64(to, uint64(size))
	}
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], rand.Uint32())
	to = append(to, mask[:]...)
	at := 0
	for _, part := range parts {
		for i := 0; i < len(part); i++ {
			to = append(to, part[i]^mask[at&3])
			at++
		}
	}
	return to
}

// frame is one of a server's. `whole` is false where data ends before it does; size is what it takes of data.
func frame(data []byte) (opcode byte, final bool, payload []byte, size int, whole bool) {
	if len(data) < 2 {
		return
	}
	opcode, final = data[0]&15, data[0]&0x80 != 0
	length, head := int(data[1]), 2
	switch {
	case length == 126 && len(data) >= 4:
		length, head = int(binary.BigEndian.Uint16(data[2:])), 4
	case length == 127 && len(data) >= 10:
		length, head = int(binary.BigEndian.Uint64(data[2:])), 10
	case length >= 126:
		return // its length is not there yet, or it is masked, which a server must not do: never whole
	}
	if len(data) < head+length {
		return
	}
	return opcode, final, data[head : head+length], head + length, true
}
