package luciapp

import "testing"

// TestPages walks through all pages in a browser; pages.js tells the story.
func TestPages(t *testing.T) {
	s := newServer(t, newRouter(t, 5))
	node(t, "pages.js", s.URL)
}
