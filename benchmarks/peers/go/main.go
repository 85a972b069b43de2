// The yardstick: what one would write in Go for a demonstration. gin and gorilla/websocket, a goroutine per session and
// per reply, channels as the queue. One process; nothing is kept, nothing recovered.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
)

type request struct {
	session int64
	text    string
}

type queue struct {
	requests chan request
	mutex    sync.RWMutex
	replies  map[int64]chan string
}

func (q *queue) subscribe(session int64) chan string {
	replies := make(chan string, 64)
	q.mutex.Lock()
	q.replies[session] = replies
	q.mutex.Unlock()
	return replies
}

func (q *queue) unsubscribe(session int64) {
	q.mutex.Lock()
	delete(q.replies, session)
	q.mutex.Unlock()
}

// deliver drops what a reader that is behind has no room for.
func (q *queue) deliver(session int64, chunk string) {
	q.mutex.RLock()
	replies := q.replies[session]
	q.mutex.RUnlock()
	select {
	case replies <- chunk:
	default:
	}
}

func (q *queue) work(chunks int, interval time.Duration) {
	for asked := range q.requests {
		go func(asked request) {
			for i := 1; i <= chunks; i++ {
				if interval > 0 && i > 1 {
					time.Sleep(interval)
				}
				q.deliver(asked.session, fmt.Sprintf("chunk %d: %s", i, asked.text))
			}
		}(asked)
	}
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func (q *queue) serve(socket *websocket.Conn, session int64) {
	replies, done := q.subscribe(session), make(chan struct{})
	go func() {
		for {
			select {
			case chunk := <-replies:
				if socket.WriteMessage(websocket.TextMessage, []byte(chunk)) != nil {
					return
				}
			case <-done:
				return
			}
		}
	}()
	for {
		_, text, err := socket.ReadMessage()
		if err != nil {
			break
		}
		q.requests <- request{session, string(text)}
	}
	close(done)
	q.unsubscribe(session)
	socket.Close()
}

func main() {
	address := flag.String("address", "127.0.0.1:8080", "")
	chunks := flag.Int("chunks", 5, "of a reply")
	interval := flag.Duration("interval", 200*time.Millisecond, "between two chunks")
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	q := &queue{requests: make(chan request, 65536), replies: map[int64]chan string{}}
	go q.work(*chunks, *interval)
	var sessions atomic.Int64
	router := gin.New()
	router.GET("/ws", func(c *gin.Context) {
		if socket, err := upgrader.Upgrade(c.Writer, c.Request, nil); err == nil {
			q.serve(socket, sessions.Add(1))
		}
	})
	log.Fatal(http.ListenAndServe(*address, router))
}
