package main

import (
	"bytes"
	"fmt"
)

// A dialect says how messages and chunks are wrapped in a peer's text frames.
type dialect struct {
	greet       string // sent behind the handshake; "": nothing, the connection is ready
	ready       string // what the answer to it contains
	askBefore   string
	askAfter    string
	chunkBefore string // what stands before a chunk's text, anywhere in its line; "": the frame is the text
	chunkAfter  string
	ping, pong  string // pings of its own
	noise       string // beginning of a frame that means nothing here
	lines       bool   // whether a frame may hold several, one a line
}

var dialects = map[string]dialect{
	"plain": {},
	"socketio": {
		greet: "40", ready: "40{", askBefore: `42["message","`, askAfter: `"]`, chunkBefore: `42["chunk","`, chunkAfter: `"]`,
		ping: "2", pong: "3", noise: "0{",
	},
	"centrifuge": {
		greet: `{"id":1,"connect":{}}`, ready: `"connect":{`, askBefore: `{"send":{"data":"`, askAfter: `"}}`,
		chunkBefore: `"pub":{"data":"`, chunkAfter: `"`, ping: "{}", pong: "{}", lines: true,
	},
}

func dialectNamed(name string) (dialect, error) {
	found, ok := dialects[name]
	if !ok {
		return found, fmt.Errorf("no dialect is called %q", name)
	}
	return found, nil
}

// chunk is the text of the chunk in this line; false where it is no chunk.
func (d *dialect) chunk(line []byte) ([]byte, bool) {
	if d.chunkBefore == "" {
		return line, true
	}
	at := bytes.Index(line, []byte(d.chunkBefore))
	if at < 0 {
		return nil, false
	}
	rest := line[at+len(d.chunkBefore):]
	end := bytes.Index(rest, []byte(d.chunkAfter))
	if end < 0 {
		return nil, false
	}
	return rest[:end], true
}
