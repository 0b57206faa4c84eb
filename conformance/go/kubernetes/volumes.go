package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// provisioner is the name by which storage classes ask for this program.
	provisioner = "tidegate.dev/folders-of-the-node"
	// askedFor is set by Kubernetes on claims that wait, provisionedBy by us on what we made.
	askedFor      = "volume.kubernetes.io/storage-provisioner"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// volumes gives claims folders of the one node. They are local volumes, not host paths, because the kubelet gives
// only the former to a pod's group, as it does with those of clouds.
type volumes struct {
	client kubernetes.Interface
	root   string
	node   string
}

func newVolumesCommand() *cobra.Command {
	var kubeconfig string
	v := &volumes{}
	command := &cobra.Command{
		Use:   "volumes",
		Short: "Gives folders of this node to claims for volumes",
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			if v.client, err = kubernetes.NewForConfig(config); err != nil {
				return err
			}
			// A look at everything twice a second is little work for one node, and has nothing to get out of step.
			wait.Forever(v.lookAtEverything, 500*time.Millisecond)
			return nil
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "who to be at which API server")
	command.Flags().StringVar(&v.root, "root", "", "where the folders are made")
	command.Flags().StringVar(&v.node, "node", "", "name of this node")
	return command
}

func (v *volumes) lookAtEverything() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(v.provideAll(ctx), v.removeReleased(ctx)); err != nil {
		klog.ErrorS(err, "will look again")
	}
}

func (v *volumes) provideAll(ctx context.Context) error {
	claims, err := v.client.CoreV1().PersistentVolumeClaims("").List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		waits := claim.Annotations[askedFor] == provisioner && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil
		if waits {
			err = errors.Join(err, v.provide(ctx, claim))
		}
	}
	return err
}

func (v *volumes) provide(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	volume := v.volumeFor(claim)
	if err := os.MkdirAll(volume.Spec.Local.Path, 0o750); err != nil {
		return err
	}
	_, err := v.client.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (v *volumes) volumeFor(claim *core.PersistentVolumeClaim) *core.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	here := core.NodeSelectorRequirement{Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{v.node}}
	terms := []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{here}}}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			ClaimRef:                      &core.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: filepath.Join(v.root, name)}},
			NodeAffinity:                  &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: terms}},
		},
	}
}

func (v *volumes) removeReleased(ctx context.Context) error {
	all, err := v.client.CoreV1().PersistentVolumes().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for i := range all.Items {
		volume := &all.Items[i]
		ours := volume.Annotations[provisionedBy] == provisioner && volume.Spec.Local != nil
		// Kubernetes calls a local volume failed where it was to remove it and does not know how.
		released := volume.Status.Phase == core.VolumeReleased || volume.Status.Phase == core.VolumeFailed
		if ours && released {
			err = errors.Join(err, v.remove(ctx, volume))
		}
	}
	return err
}

func (v *volumes) remove(ctx context.Context, volume *core.PersistentVolume) error {
	if err := os.RemoveAll(filepath.Join(v.root, volume.Name)); err != nil {
		return err
	}
	return v.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
}
