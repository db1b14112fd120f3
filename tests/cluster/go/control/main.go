// Command control is a Kubernetes control plane in one binary, and its client: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler and kubectl, chosen by the first argument.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var commands = map[string]func() *cobra.Command{
	"etcd":               etcdCommand,
	"apiserver":          apiserver.NewAPIServerCommand,
	"controller-manager": controllermanager.NewControllerManagerCommand,
	"scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":            kubectl.NewDefaultKubectlCommand,
}

// etcdCommand serves one member without fsync: what it holds need not outlive the machine.
func etcdCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "etcd DATA_DIRECTORY URL",
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, arguments []string) error {
			client, err := url.Parse(arguments[1])
			if err != nil {
				return err
			}
			config := embed.NewConfig()
			config.Dir = arguments[0]
			config.LogLevel = "error"
			config.UnsafeNoFsync = true
			config.ListenClientUrls = []url.URL{*client}
			config.AdvertiseClientUrls = config.ListenClientUrls
			config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
			config.AdvertisePeerUrls = config.ListenPeerUrls
			config.InitialCluster = config.InitialClusterFromName(config.Name)
			server, err := embed.StartEtcd(config)
			if err != nil {
				return err
			}
			defer server.Close()
			stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer cancel()
			select {
			case <-stop.Done():
				return nil
			case err := <-server.Err():
				return err
			}
		},
	}
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintln(os.Stderr, "usage: control etcd|apiserver|controller-manager|scheduler|kubectl ...")
		os.Exit(2)
	}
	os.Args = append([]string{name}, os.Args[2:]...)
	os.Exit(cli.Run(command()))
}
