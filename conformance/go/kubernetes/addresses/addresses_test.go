package addresses

import (
	"net/netip"
	"testing"
)

func pool(network string) *Pool { return NewPool(netip.MustParsePrefix(network)) }

func expect(t *testing.T, p *Pool, owner, wanted, address string) {
	t.Helper()
	got, err := p.Give(owner, wanted)
	if err != nil || got.String() != address {
		t.Fatalf("%s wanted %q: got %s (%v), expected %s", owner, wanted, got, err, address)
	}
}

func expectRefusal(t *testing.T, p *Pool, owner, wanted string) {
	t.Helper()
	if got, err := p.Give(owner, wanted); err == nil {
		t.Fatalf("%s wanted %q: got %s, expected a refusal", owner, wanted, got)
	}
}

func TestAnOwnerKeepsItsAddress(t *testing.T) {
	p := pool("10.0.0.0/29")
	expect(t, p, "a", "", "10.0.0.1")
	expect(t, p, "b", "", "10.0.0.2")
	expect(t, p, "a", "", "10.0.0.1")
}

func TestAReleasedAddressIsHandedOutAgain(t *testing.T) {
	p := pool("10.0.0.0/29")
	expect(t, p, "a", "", "10.0.0.1")
	p.Release("a")
	expect(t, p, "b", "", "10.0.0.1")
}

func TestAWantedAddressReplacesTheOneBefore(t *testing.T) {
	p := pool("10.0.0.0/29")
	expect(t, p, "a", "", "10.0.0.1")
	expect(t, p, "a", "10.0.0.5", "10.0.0.5")
	expect(t, p, "b", "", "10.0.0.1")
}

func TestWhatIsTakenForeignOrNoAddressIsRefused(t *testing.T) {
	p := pool("10.0.0.0/29")
	expect(t, p, "a", "10.0.0.5", "10.0.0.5")
	expectRefusal(t, p, "b", "10.0.0.5")
	expectRefusal(t, p, "b", "192.0.2.1")
	expectRefusal(t, p, "b", "10.0.0.0")
	expectRefusal(t, p, "b", "nonsense")
}

func TestAFullNetworkRefuses(t *testing.T) {
	p := pool("10.0.0.0/31")
	expect(t, p, "a", "", "10.0.0.1")
	expectRefusal(t, p, "b", "")
}

func TestWhatAnEarlierProcessHandedOutIsKept(t *testing.T) {
	p := pool("10.0.0.0/29")
	p.Adopt(netip.MustParseAddr("10.0.0.1"), "a")
	p.Adopt(netip.MustParseAddr("192.0.2.1"), "foreign")
	expect(t, p, "b", "", "10.0.0.2")
	expect(t, p, "a", "", "10.0.0.1")
}
