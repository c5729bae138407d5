package kernel

// Traffic are the bytes that a device has carried since it was created.
type Traffic struct {
	Name     string `json:"name"`
	Index    int    `json:"index"`
	Received uint64 `json:"rx_bytes"`
	Sent     uint64 `json:"tx_bytes"`
}

// Traffic returns what each device has carried when Links was read.
func (h *Handle) Traffic() (traffic []Traffic, err error) {
	links, err := h.Links()
	for _, l := range links {
		if a := l.Attrs(); a.Statistics != nil {
			traffic = append(traffic, Traffic{a.Name, a.Index, a.Statistics.RxBytes, a.Statistics.TxBytes})
		}
	}
	return traffic, err
}
