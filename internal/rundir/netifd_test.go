package rundir

import (
	"testing"
	"time"
)

func TestNetifd(t *testing.T) {
	d := Dir(t.TempDir())
	if answer, _ := d.Netifd(); answer != nil {
		t.Errorf("%q was saved", answer)
	}
	before := time.Now().Add(-time.Second)
	if err := d.SaveNetifd([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	answer, saved := d.Netifd()
	if string(answer) != "{}" || saved.Before(before) || time.Since(saved) < -time.Second {
		t.Errorf("%q, saved at %s", answer, saved)
	}
}
