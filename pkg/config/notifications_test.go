package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const notifying = `<monitor>
  hook_dir /etc/mysql-mmm/hooks.d
</monitor>
<hook every>
  program /usr/local/bin/every
</hook>
<hook freeze>
  program /usr/local/bin/freeze
  may_abort 1
  timeout 30
</hook>
<hook proxy>
  program /usr/local/bin/proxy # reload it
  events before_promotion, after_promotion
  may_abort yes
</hook>
<alert chat>
  webhook https://chat.example.com/hooks/q8s
  webhook_token t0k3n
  events fatal, unprotected
  min_interval 0
</alert>
<alert mail>
  smtp mail.example.com:587
  smtp_user mmm
  smtp_password_file smtp
  mail_from mmm@example.com
  mail_to dba@example.com, boss@example.com
</alert>
`

// Hooks and alerts are the same in both syntaxes, and only the monitor has them.
func TestHooksAndAlerts(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "smtp"), "sesame\n")
	write(t, filepath.Join(dir, "f.conf"), valid+notifying)
	converted, err := ToHCL(filepath.Join(dir, "f.conf"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "f.hcl"), converted.Text)
	for _, name := range []string{"f.conf", "f.hcl"} {
		src := Source{File: filepath.Join(dir, name)}
		c := mustLoad(t, Monitor, src)
		hooks := []Hook{
			{Name: "every", Program: "/usr/local/bin/every", Events: []string{"all"}, Timeout: 10 * time.Second},
			{Name: "freeze", Program: "/usr/local/bin/freeze", Events: []string{"before_planned_move"},
				Timeout: 30 * time.Second, MayAbort: true},
			{Name: "proxy", Program: "/usr/local/bin/proxy", Events: []string{"before_promotion", "after_promotion"},
				Timeout: 10 * time.Second, MayAbort: true},
		}
		if !reflect.DeepEqual(c.Hooks, hooks) || c.Monitor.HookDir != "/etc/mysql-mmm/hooks.d" {
			t.Errorf("%s: %+v, %s", name, c.Hooks, c.Monitor.HookDir)
		}
		alerts := []Alert{
			{Name: "chat", Events: []string{"fatal", "unprotected"}, Webhook: "https://chat.example.com/hooks/q8s",
				WebhookToken: "t0k3n", SMTPTLS: StartTLS},
			{Name: "mail", Events: []string{"fatal"}, MinInterval: time.Minute, SMTP: "mail.example.com:587",
				SMTPTLS: StartTLS, SMTPUser: "mmm", SMTPPassword: "sesame",
				MailFrom: "mmm@example.com", MailTo: []string{"dba@example.com", "boss@example.com"}},
		}
		if !reflect.DeepEqual(c.Alerts, alerts) {
			t.Errorf("%s: %+v", name, c.Alerts)
		}
		for _, p := range []Program{Agent, Control} {
			if c := mustLoad(t, p, src); c.Hooks != nil || c.Alerts != nil {
				t.Errorf("%v has hooks or alerts", p)
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "smtp")); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, Agent, Source{File: filepath.Join(dir, "f.conf")})
}

func TestHookAndAlertErrors(t *testing.T) {
	const secret = "qhdks-123"
	for text, want := range map[string]string{
		"<hook x>\n</hook>":                                     "41: <hook x> lacks 'program', which mmm_mond needs",
		"<hook x>\nprogram bin/x\n</hook>":                      `42: 'program' of <hook x> must be an absolute path, not "bin/x"`,
		"<monitor>\nhook_dir hooks.d\n</monitor>":               `42: 'hook_dir' of <monitor> must be an absolute path, not "hooks.d"`,
		"<hook x>\nprogram /x\ntimeout 121\n</hook>":            "43: 'timeout' of <hook x> must be at most 2m0s, not 2m1s",
		"<hook x>\nprogram /x\ntimeout 0\n</hook>":              `43: 'timeout' must be above zero, not "0"`,
		"<hook x>\nprogram /x\nevents after_promotoin\n</hook>": "43: 'events' must be made of state, role, before_planned_move, before_promotion, after_promotion, conflict, unprotected, protected, check, note, fatal or all; not \"after_promotoin\"; did you mean 'after_promotion'?",
		"<hook>\nprogram /x\n</hook>":                           "41: section <hook> needs a name; write <hook NAME>",
		"<alert x>\n</alert>":                                   "41: <alert x> tells nobody; set 'webhook' or 'smtp'",
		"<alert x>\nwebhook " + secret +
			"\n</alert>": "42: 'webhook' must be a URL that begins with https:// (or http://) and a host",
		"<alert x>\nwebhook ftp://h/" + secret +
			"\n</alert>": "42: 'webhook' must be a URL that begins with https:// (or http://) and a host",
		"<alert x>\nwebhook http://h:" + secret +
			"/\n</alert>": "42: 'webhook' must be a URL that begins with https:// (or http://) and a host",
		"<alert x>\nwebhook_token " + secret +
			"\nsmtp h:25\n</alert>": "42: 'webhook_token' of <alert x> needs 'webhook' beside it\nf.conf:43: 'smtp' of <alert x> needs 'mail_from' beside it\nf.conf:43: 'smtp' of <alert x> needs 'mail_to' beside it",
		"<alert x>\nsmtp mail.example.com\nmail_from a@b\nmail_to c@d\n</alert>":  `42: 'smtp' must be a name or an address and a port such as mail.example.com:587, not "mail.example.com"`,
		"<alert x>\nsmtp h:25\nmail_from me\nmail_to c@d, Du <e@f>\n</alert>":     "43: 'mail_from' of <alert x> must be mail addresses such as dba@example.com, not \"me\"\nf.conf:44: 'mail_to' of <alert x> must be mail addresses such as dba@example.com, not \"Du <e@f>\"",
		"<alert x>\nsmtp h:25\nmail_from a@b\nmail_to c@d\nsmtp_user u\n</alert>": "45: 'smtp_user' of <alert x> needs 'smtp_password' beside it",
		"<alert x>\nsmtp h:25\nmail_from a@b\nmail_to c@d\nsmtp_user u\nsmtp_password " + secret +
			"\nsmtp_tls none\n</alert>": "46: 'smtp_password' of <alert x> would be sent unprotected; set 'smtp_tls' to starttls or tls",
		"<alert x>\nwebhook http://h/\nwebhook_token " + secret + "\nwebhook_token_file " + secret +
			"\n</alert>": "44: 'webhook_token_file' and 'webhook_token' (f.conf:43) are both set in <alert x>; keep one\nf.conf:44: 'webhook_token_file' names a file that can't be found: no such file or directory",
	} {
		_, errs := buildText(Monitor, valid+text+"\n")
		if got := errs.Error(); got != "f.conf:"+want || strings.Contains(got, secret) {
			t.Errorf("%s\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestURLFromAFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "url"), "no url")
	write(t, filepath.Join(dir, "f.conf"), valid+"<alert x>\nwebhook_file url\n</alert>\n")
	_, err := load(Monitor, Source{File: filepath.Join(dir, "f.conf")}, nil)
	if err == nil ||
		!strings.HasSuffix(err.Error(),
			"f.conf:42: 'webhook' of <alert x> must be a URL that begins with https:// (or http://) and a host") {
		t.Error(err)
	}
}
