// Package suite is the official conformance suite of Gateway API, as it is, as a program.
package suite

import (
	"fmt"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }

// TestNames prints the name of each test of the suite after "core" or "extended": core is what needs nothing but features
// that a profile of gateways demands.
func TestNames(*testing.T) {
	core := suite.GatewayHTTPConformanceProfile.CoreFeatures.
		Union(suite.GatewayGRPCConformanceProfile.CoreFeatures).
		Union(suite.GatewayTLSConformanceProfile.CoreFeatures).
		Union(suite.GatewayTCPConformanceProfile.CoreFeatures).
		Union(suite.GatewayUDPConformanceProfile.CoreFeatures)
	for _, test := range tests.ConformanceTests {
		kind := "extended"
		if core.HasAll(test.Features...) {
			kind = "core"
		}
		fmt.Println(kind, test.ShortName)
	}
}
