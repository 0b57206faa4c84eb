// Package addresses says which Service has which address of a network; it knows nothing of Kubernetes.
package addresses

import (
	"fmt"
	"net/netip"
)

// Pool hands out the addresses of one network, each to one owner, and one to each owner.
type Pool struct {
	network netip.Prefix
	owners  map[netip.Addr]string
}

// NewPool has every address but the first of the network, which many systems take for the network itself.
func NewPool(network netip.Prefix) *Pool {
	return &Pool{network: network.Masked(), owners: map[netip.Addr]string{}}
}

// Adopt notes that an owner has an address, handed out by an earlier process.
func (p *Pool) Adopt(address netip.Addr, owner string) {
	if p.network.Contains(address) && p.owners[address] == "" {
		p.owners[address] = owner
	}
}

// Give answers with the owner's address: the wanted one, else the one it has, else the lowest free one.
func (p *Pool) Give(owner, wanted string) (netip.Addr, error) {
	if wanted != "" {
		return p.giveWanted(owner, wanted)
	}
	if address, has := p.of(owner); has {
		return address, nil
	}
	for a := p.network.Addr().Next(); p.network.Contains(a); a = a.Next() {
		if p.owners[a] == "" {
			p.owners[a] = owner
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("every address of %s is in use; delete a Service of type LoadBalancer", p.network)
}

// Release takes the owner's address back.
func (p *Pool) Release(owner string) {
	if address, has := p.of(owner); has {
		delete(p.owners, address)
	}
}

func (p *Pool) giveWanted(owner, wanted string) (netip.Addr, error) {
	address, err := netip.ParseAddr(wanted)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP %q is no address: %w", wanted, err)
	}
	if !p.network.Contains(address) || address == p.network.Addr() {
		return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP %s is none of %s", address, p.network)
	}
	if other := p.owners[address]; other != "" && other != owner {
		return netip.Addr{}, fmt.Errorf("spec.loadBalancerIP %s belongs to the Service %s", address, other)
	}
	p.Release(owner)
	p.owners[address] = owner
	return address, nil
}

func (p *Pool) of(owner string) (netip.Addr, bool) {
	for address, has := range p.owners {
		if has == owner {
			return address, true
		}
	}
	return netip.Addr{}, false
}
