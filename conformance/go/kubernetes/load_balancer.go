package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/controllers/service"
	"k8s.io/component-base/featuregate"
	metrics "k8s.io/component-base/metrics/prometheus/controllers"

	"tidegate.dev/conformance/kubernetes/addresses"
)

// cloud gives Services of type LoadBalancer their addresses: kube-proxy answers for them on the node, so
// an address is all that there is to give. The controller that asks it is Kubernetes' own.
type cloud struct {
	services listers.ServiceLister
	adopt    sync.Once
	mutex    sync.Mutex
	pool     *addresses.Pool
}

func newLoadBalancerCommand() *cobra.Command {
	var kubeconfig, network string
	command := &cobra.Command{
		Use:   "load-balancer",
		Short: "Gives addresses of one network to Services of type LoadBalancer",
		RunE: func(command *cobra.Command, _ []string) error {
			return serve(command.Context(), kubeconfig, network)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "who to be at which API server")
	command.Flags().StringVar(&network, "network", "", "where addresses come from, as CIDR")
	return command
}

func serve(ctx context.Context, kubeconfig, network string) error {
	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return fmt.Errorf("--network: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	// The suite makes dozens of Gateways at once; the default of 5 requests a second would keep them waiting.
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	informers := informers.NewSharedInformerFactory(client, 0)
	services, nodes := informers.Core().V1().Services(), informers.Core().V1().Nodes()
	c := &cloud{services: services.Lister(), pool: addresses.NewPool(prefix)}
	controller, err := service.New(c, client, services, nodes, "conformance", featuregate.NewFeatureGate())
	if err != nil {
		return err
	}
	informers.Start(ctx.Done())
	controller.Run(ctx, 10, metrics.NewControllerManagerMetrics("load-balancer"))
	return nil
}

func key(s *core.Service) string { return s.Namespace + "/" + s.Name }

func (c *cloud) EnsureLoadBalancer(_ context.Context, _ string, s *core.Service, _ []*core.Node) (*core.LoadBalancerStatus, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.adopt.Do(c.adoptAll)
	address, err := c.pool.Give(key(s), s.Spec.LoadBalancerIP)
	if err != nil {
		return nil, err
	}
	mode := core.LoadBalancerIPModeVIP
	return &core.LoadBalancerStatus{Ingress: []core.LoadBalancerIngress{{IP: address.String(), IPMode: &mode}}}, nil
}

// adoptAll runs at the first question, when the controller has waited for the list of Services.
func (c *cloud) adoptAll() {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return
	}
	for _, s := range all {
		for _, ingress := range s.Status.LoadBalancer.Ingress {
			if address, err := netip.ParseAddr(ingress.IP); err == nil {
				c.pool.Adopt(address, key(s))
			}
		}
	}
}

func (c *cloud) EnsureLoadBalancerDeleted(_ context.Context, _ string, s *core.Service) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.pool.Release(key(s))
	return nil
}

func (c *cloud) GetLoadBalancer(_ context.Context, _ string, s *core.Service) (*core.LoadBalancerStatus, bool, error) {
	return &s.Status.LoadBalancer, len(s.Status.LoadBalancer.Ingress) > 0, nil
}

func (c *cloud) GetLoadBalancerName(_ context.Context, _ string, s *core.Service) string {
	return key(s)
}

func (c *cloud) UpdateLoadBalancer(context.Context, string, *core.Service, []*core.Node) error {
	return nil
}

func (c *cloud) ProviderName() string                                              { return "conformance" }
func (c *cloud) HasClusterID() bool                                                { return true }
func (c *cloud) LoadBalancer() (cloudprovider.LoadBalancer, bool)                  { return c, true }
func (c *cloud) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}
func (c *cloud) Instances() (cloudprovider.Instances, bool)                        { return nil, false }
func (c *cloud) InstancesV2() (cloudprovider.InstancesV2, bool)                    { return nil, false }
func (c *cloud) Zones() (cloudprovider.Zones, bool)                                { return nil, false }
func (c *cloud) Clusters() (cloudprovider.Clusters, bool)                          { return nil, false }
func (c *cloud) Routes() (cloudprovider.Routes, bool)                              { return nil, false }
