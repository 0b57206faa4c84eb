// Calls that outlast or outgrow those of the interoperability suite: large messages, and one connection that
// keepalive pings hold open through a silent stream and through no stream at all.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
)

// The least that grpc-go allows between two pings.
const pingEvery = 10 * time.Second

// Two pings and more.
const silence = 25 * time.Second

func main() {
	server := flag.String("server", "", "address")
	ca := flag.String("ca", "", "file of the certificate to trust; plain text without it")
	name := flag.String("name", "edge.test", "name in the certificate")
	flag.Parse()
	if err := run(*server, *ca, *name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server, ca, name string) error {
	secured, err := transport(ca, name)
	if err != nil {
		return err
	}
	var connections atomic.Int32
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		connections.Add(1)
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	channel, err := grpc.NewClient("passthrough:///"+server,
		grpc.WithTransportCredentials(secured),
		grpc.WithContextDialer(dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: 5 * time.Second, PermitWithoutStream: true}))
	if err != nil {
		return err
	}
	defer channel.Close()
	client := testgrpc.NewTestServiceClient(channel)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := large(ctx, client); err != nil {
		return fmt.Errorf("large messages: %w", err)
	}
	if err := manyMessages(ctx, client); err != nil {
		return fmt.Errorf("64 MiB in messages of 1 MiB: %w", err)
	}
	if err := silentStream(ctx, client); err != nil {
		return fmt.Errorf("a silent stream: %w", err)
	}
	time.Sleep(silence)
	if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}); err != nil {
		return fmt.Errorf("after no stream: %w", err)
	}
	if opened := connections.Load(); opened != 1 {
		return fmt.Errorf("%d connections were opened, one was expected", opened)
	}
	return nil
}

func transport(ca, name string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	return credentials.NewTLS(&tls.Config{RootCAs: trusted, ServerName: name}), nil
}

// As much as the suite's server takes in one message, and 32 MiB back.
func large(ctx context.Context, client testgrpc.TestServiceClient) error {
	const sent, wanted = 4_000_000, 32 << 20
	answer, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{
		ResponseSize: wanted,
		Payload:      &testgrpc.Payload{Body: make([]byte, sent)},
	})
	if err != nil {
		return err
	}
	if got := len(answer.GetPayload().GetBody()); got != wanted {
		return fmt.Errorf("%d bytes came back", got)
	}
	return nil
}

func manyMessages(ctx context.Context, client testgrpc.TestServiceClient) error {
	const messages, bytes = 64, 1 << 20
	stream, err := client.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for range messages {
		payload := &testgrpc.Payload{Body: make([]byte, bytes)}
		if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: payload}); err != nil {
			return err
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if got := answer.GetAggregatedPayloadSize(); got != messages*bytes {
		return fmt.Errorf("the server got %d bytes", got)
	}
	return nil
}

func silentStream(ctx context.Context, client testgrpc.TestServiceClient) error {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for _, pause := range []time.Duration{0, silence} {
		time.Sleep(pause)
		asked := &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 10}}}
		if err := stream.Send(asked); err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("the stream ends with %v", err)
	}
	return nil
}
