// gVisor's netstack as a peer of the bench; the contract is in bench/README.md.
//
//	gvisor tun DEVICE MTU                     serves the three ports on a TUN device
//	gvisor veth INTERFACE MTU                 the same on an AF_PACKET socket with PACKET_VNET_HDR, as runsc does
//	gvisor mem bulk|pp|conns N MTU SECONDS    two stacks on a pipe link in this process; MTU 0 is one stack's loopback
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	serverAddress = "10.9.0.2"
	clientAddress = "10.9.0.1"
	prefixLength  = 16
	discardPort   = 7001
	chargenPort   = 7002
	echoPort      = 7003
	bufferBytes   = 128 << 10
	warmUp        = 500 * time.Millisecond
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func checkStack(err tcpip.Error) {
	if err != nil {
		check(fmt.Errorf("%s", err))
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

// newStack has SACK, receive buffer moderation and buffers as large as Linux's, as runsc configures it.
func newStack(link stack.LinkEndpoint, address string) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	checkStack(s.CreateNIC(1, link))
	checkStack(s.AddProtocolAddress(1, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.Address(net.ParseIP(address).To4()), PrefixLen: prefixLength},
	}, stack.AddressProperties{}))
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 1 << 20, Max: 8 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 1 << 20, Max: 6 << 20}
	checkStack(s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	checkStack(s.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate))
	checkStack(s.SetTransportProtocolOption(tcp.ProtocolNumber, &receive))
	checkStack(s.SetTransportProtocolOption(tcp.ProtocolNumber, &send))
	return s
}

var discarded uint64

func discard(c net.Conn) {
	b := make([]byte, bufferBytes)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		atomic.AddUint64(&discarded, uint64(n))
	}
}

func generate(c net.Conn) {
	b := make([]byte, bufferBytes)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func echo(c net.Conn) {
	b := make([]byte, 512)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

func serve(s *stack.Stack) {
	for port, handle := range map[uint16]func(net.Conn){discardPort: discard, chargenPort: generate, echoPort: echo} {
		l, err := gonet.ListenTCP(s, tcpip.FullAddress{NIC: 1, Port: port}, ipv4.ProtocolNumber)
		check(err)
		handle := handle
		go func() {
			for {
				c, err := l.Accept()
				check(err)
				go func() {
					defer c.Close()
					handle(c)
				}()
			}
		}()
	}
}

func openTun(name string) int {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR, 0)
	check(err)
	var request [40]byte
	copy(request[:unix.IFNAMSIZ-1], name)
	*(*uint16)(unsafe.Pointer(&request[unix.IFNAMSIZ])) = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request[0]))); e != 0 {
		check(e)
	}
	return fd
}

func tunLink(device string, mtu int) stack.LinkEndpoint {
	link, err := fdbased.New(&fdbased.Options{FDs: []int{openTun(device)}, MTU: uint32(mtu)})
	check(err)
	return link
}

func vethLink(device string, mtu int) stack.LinkEndpoint {
	const allProtocols = 0x0300 // ETH_P_ALL in network order
	inter, err := net.InterfaceByName(device)
	check(err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, allProtocols)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: inter.Index}))
	check(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20))
	check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20))
	link, err := fdbased.New(&fdbased.Options{
		FDs: []int{fd}, MTU: uint32(mtu), EthernetHeader: true, Address: tcpip.LinkAddress(inter.HardwareAddr),
		PacketDispatchMode: fdbased.RecvMMsg, RXChecksumOffload: true, GSOMaxSize: 65536 - 60,
	})
	check(err)
	return link
}

// pair makes the client's and the server's stack; over loopback they are one.
func pair(mtu int) (client, server *stack.Stack) {
	if mtu == 0 {
		s := newStack(loopback.New(), serverAddress)
		return s, s
	}
	a, b := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", uint32(mtu))
	return newStack(b, clientAddress), newStack(a, serverAddress)
}

func dial(s *stack.Stack, port uint16) *gonet.TCPConn {
	to := tcpip.FullAddress{NIC: 1, Addr: tcpip.Address(net.ParseIP(serverAddress).To4()), Port: port}
	c, err := gonet.DialTCP(s, to, ipv4.ProtocolNumber)
	check(err)
	return c
}

// measure says when the measured time begins, and what it amounted to.
func measure(unit string, scale float64, seconds float64, counter *uint64) {
	time.Sleep(warmUp)
	fmt.Println("begin")
	before, start := atomic.LoadUint64(counter), time.Now()
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	elapsed := time.Since(start).Seconds()
	fmt.Printf("%s=%.3f seconds=%.6f\n", unit, float64(atomic.LoadUint64(counter)-before)/scale/elapsed, elapsed)
	// Whoever reads this looks at what the process has cost before he lets it go.
	io.Copy(io.Discard, os.Stdin)
}

func pingPong(c net.Conn, trips *uint64) {
	b := []byte{1}
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
		if _, err := c.Read(b); err != nil {
			return
		}
		atomic.AddUint64(trips, 1)
	}
}

func residentBytes() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	return number(string(bytes.Fields(rest)[0])) << 10
}

// hold opens n connections, with a reader each at the server, and says what they cost in memory.
func hold(client *stack.Stack, n int) {
	runtime.GC()
	before, start := residentBytes(), time.Now()
	kept := make([]*gonet.TCPConn, n)
	for i := range kept {
		kept[i] = dial(client, echoPort)
	}
	elapsed := time.Since(start).Seconds()
	time.Sleep(warmUp)
	runtime.GC()
	fmt.Printf("bytes/end=%.1f setup=%.3f\n", float64(residentBytes()-before)/float64(2*n), elapsed)
	runtime.KeepAlive(kept)
}

func inMemory(what string, n, mtu int, seconds float64) {
	client, server := pair(mtu)
	serve(server)
	switch what {
	case "bulk":
		for i := 0; i < n; i++ {
			go generate(dial(client, discardPort))
		}
		measure("MB/s", 1e6, seconds, &discarded)
	case "pp":
		var trips uint64
		for i := 0; i < n; i++ {
			go pingPong(dial(client, echoPort), &trips)
		}
		measure("rt/s", 1, seconds, &trips)
	case "conns":
		hold(client, n)
	default:
		check(fmt.Errorf("unknown workload %s", what))
	}
}

func main() {
	// It warns of each connection whose peer has gone.
	log.SetTarget(log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
	args := os.Args[1:]
	switch {
	case len(args) == 3 && args[0] == "tun":
		serve(newStack(tunLink(args[1], number(args[2])), serverAddress))
		select {}
	case len(args) == 3 && args[0] == "veth":
		serve(newStack(vethLink(args[1], number(args[2])), serverAddress))
		select {}
	case len(args) == 5 && args[0] == "mem":
		seconds, err := strconv.ParseFloat(args[4], 64)
		check(err)
		inMemory(args[1], number(args[2]), number(args[3]), seconds)
	default:
		check(fmt.Errorf("usage: gvisor tun DEVICE MTU | veth INTERFACE MTU | mem bulk|pp|conns N MTU SECONDS"))
	}
}
