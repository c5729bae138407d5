// Command loadbalance deals out a router's new connections to its uplinks.
package main

import (
	"os"

	"loadbalance/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr)) }
