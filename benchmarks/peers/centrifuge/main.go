// Centrifuge, the library that Centrifugo is made of, in one process with its broker in memory: each session has a
// channel of its own with a history, so that a reader can recover what it has missed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

func reply(node *centrifuge.Node, channel string, text string, chunks int, interval time.Duration) {
	for i := 1; i <= chunks; i++ {
		if interval > 0 && i > 1 {
			time.Sleep(interval)
		}
		chunk, _ := json.Marshal(fmt.Sprintf("chunk %d: %s", i, text))
		_, _ = node.Publish(channel, chunk, centrifuge.WithHistory(20, 15*time.Minute))
	}
}

func main() {
	address := flag.String("address", "127.0.0.1:8080", "")
	chunks := flag.Int("chunks", 5, "of a reply")
	interval := flag.Duration("interval", 200*time.Millisecond, "between two chunks")
	flag.Parse()
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials: &centrifuge.Credentials{UserID: event.ClientID},
			Subscriptions: map[string]centrifuge.SubscribeOptions{
				"reply:" + event.ClientID: {EnableRecovery: true},
			},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnMessage(func(event centrifuge.MessageEvent) {
			var text string
			if json.Unmarshal(event.Data, &text) == nil {
				go reply(node, "reply:"+client.ID(), text, *chunks, *interval)
			}
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
	}))
	log.Fatal(http.ListenAndServe(*address, nil))
}
