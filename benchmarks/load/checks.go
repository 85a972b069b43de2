package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// faults counts what must not be.
type faults struct {
	Wrong   int      `json:"wrong"`   // not the text that was awaited
	Missing int      `json:"missing"` // chunks left out, or not there when patience ended
	Doubled int      `json:"doubled"` // chunks that had come before, or that nobody has asked for
	Closed  int      `json:"closed"`  // connections that the server ended
	Refused int      `json:"refused"` // handshakes that failed
	Blocked int      `json:"blocked"` // messages that the server would not take
	Samples []string `json:"samples"` // the first few of them
}

func (f *faults) say(format string, values ...interface{}) {
	if len(f.Samples) < 5 {
		f.Samples = append(f.Samples, fmt.Sprintf(format, values...))
	}
}

// check compares a chunk with what is awaited: number `next` of `chunks` of the reply to `message`, or none where next
// is 0. It returns the number of the chunk that is awaited then (chunks+1: none, the reply is whole) and whether this
// one was to be counted.
func (f *faults) check(got []byte, message []byte, next int, chunks int) (int, bool) {
	number, rest := numbered(got)
	switch {
	case number == 0 || !bytes.Equal(rest, message):
		if next == 0 && number > 0 {
			f.Doubled++
		} else {
			f.Wrong++
		}
		f.say("awaited chunk %d: %s, got %.80q", next, message, got)
		return next, false
	case next == 0 || number < next:
		f.Doubled++
		f.say("chunk %d came again: %.80q", number, got)
		return next, false
	case number > chunks:
		f.Wrong++
		f.say("chunk %d of %d: %.80q", number, chunks, got)
		return next, false
	case number > next:
		f.Missing += number - next
		f.say("awaited chunk %d, got %.80q", next, got)
	}
	return number + 1, true
}

// numbered splits "chunk 12: text" into 12 and text; 0 where it is nothing of the kind.
func numbered(got []byte) (int, []byte) {
	if !bytes.HasPrefix(got, []byte("chunk ")) {
		return 0, nil
	}
	end := bytes.IndexByte(got, ':')
	if end < 0 || end+2 > len(got) || got[end+1] != ' ' {
		return 0, nil
	}
	if end == 7 && got[6] > '0' && got[6] <= '9' {
		return int(got[6] - '0'), got[9:]
	}
	number, err := strconv.Atoi(string(got[6:end]))
	if err != nil || number < 1 {
		return 0, nil
	}
	return number, got[end+2:]
}
