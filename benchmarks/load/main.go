// The load generator: one event loop over epoll on one thread, so that it costs less than any server that it drives.
//
// It connects, prints a line of JSON with `"phase": "connected"`, waits for a line on standard input, loads the server,
// prints a second line with what came of it, and waits for another line before it closes, so that its caller can read
// the servers' counters around each phase. Every chunk is checked. Latencies are histograms (histogram.go) of
// microseconds and begin when a message was due, not when it could be sent.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

type options struct {
	address     string // ip:port
	path        string
	host        string // of the Host header
	connections int
	connectRate float64 // per second; 0: as fast as inFlight lets it
	inFlight    int     // handshakes under way at once
	sources     int     // loopback addresses that connections come from
	late        bool    // connect only when the load begins: the handshakes are the load
	patience    time.Duration
	rate        float64 // messages per second at random moments (an open loop); 0: each connection asks again (closed)
	once        int     // an open loop's number of messages; 0: as many as fall into its seconds
	think       time.Duration
	spread      time.Duration // over which the first messages of a closed loop are spread
	seconds     time.Duration // 0: only connect
	chunks      int
	size        int
	rest        time.Duration // between two looks at the sockets
	stalled     bool          // send, but never read
	dialect     string
	seed        int64
}

func main() {
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	debug.SetGCPercent(800)
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10) // where that is allowed: to be on time on a busy machine
	load, err := open(parse())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if !load.late {
		load.connect()
	}
	tell(load.connected())
	if !load.told() {
		return // whoever asked is gone
	}
	tell(load.measured(func() {
		if load.late {
			load.connect()
		}
		load.chat()
	}))
	load.told()
}

func parse() options {
	var o options
	flag.StringVar(&o.address, "address", "127.0.0.1:8080", "ip:port")
	flag.StringVar(&o.path, "path", "/ws", "")
	flag.StringVar(&o.host, "host", "", "Host header, if it is not the address")
	flag.IntVar(&o.connections, "connections", 100, "")
	flag.Float64Var(&o.connectRate, "connect-rate", 0, "connections per second (0: as fast as it goes)")
	flag.IntVar(&o.inFlight, "in-flight", 128, "handshakes at once")
	flag.IntVar(&o.sources, "sources", 0, "loopback addresses from 127.0.1.1 on to connect from (0: leave it to the system)")
	flag.BoolVar(&o.late, "late", false, "connect when the load begins: the handshakes are the load")
	flag.DurationVar(&o.patience, "patience", 30*time.Second, "for what is still missing at the end")
	flag.Float64Var(&o.rate, "rate", 0, "messages per second, at random moments (0: each connection asks again)")
	flag.IntVar(&o.once, "messages", 0, "with -rate: how many (0: as many as fall into -seconds)")
	flag.DurationVar(&o.think, "think", 0, "between a reply and the next message")
	flag.DurationVar(&o.spread, "spread", 0, "over which the first messages are spread")
	flag.DurationVar(&o.seconds, "seconds", 0, "of load")
	flag.IntVar(&o.chunks, "chunks", 5, "of a reply")
	flag.IntVar(&o.size, "size", 32, "bytes of a message")
	flag.BoolVar(&o.stalled, "stalled", false, "send, but never read")
	flag.StringVar(&o.dialect, "dialect", "plain", "plain, socketio or centrifuge")
	flag.DurationVar(&o.rest, "rest", 0, "between two looks at the sockets: costs less, but stamps up to this too late")
	flag.Int64Var(&o.seed, "seed", 1, "of the random moments")
	flag.Parse()
	return o
}

func tell(what interface{}) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
