package explain

import "encoding/json"

// packetJSON is the JSON of a Packet; what is not known is left out.
type packetJSON struct {
	Family          string `json:"family"`
	Source          string `json:"src,omitempty"`
	Destination     string `json:"dst"`
	Protocol        *int   `json:"protocol,omitempty"`
	SourcePort      *int   `json:"sport,omitempty"`
	DestinationPort *int   `json:"dport,omitempty"`
	ICMPType        *int   `json:"icmp_type,omitempty"`
	ICMPCode        *int   `json:"icmp_code,omitempty"`
	InDevice        string `json:"in,omitempty"`
	Own             bool   `json:"own"`
	SourceMAC       string `json:"mac,omitempty"`
	DSCP            *int   `json:"dscp,omitempty"`
	Mark            uint32 `json:"mark,omitempty"`
}

func (p Packet) MarshalJSON() ([]byte, error) {
	known := func(n int) *int {
		if n == Unknown {
			return nil
		}
		return &n
	}
	source := ""
	if p.Source.IsValid() {
		source = p.Source.String()
	}
	return json.Marshal(packetJSON{
		Family: p.Family().String(), Source: source, Destination: p.Destination.String(),
		Protocol: known(p.Protocol), SourcePort: known(p.SourcePort), DestinationPort: known(p.DestinationPort),
		ICMPType: known(p.ICMPType), ICMPCode: known(p.ICMPCode), InDevice: p.InDevice, Own: p.Own,
		SourceMAC: p.SourceMAC, DSCP: known(p.DSCP), Mark: p.Mark,
	})
}
