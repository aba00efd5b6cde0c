package config

import (
	"net/mail"
	"path/filepath"
	"time"

	"mysql-mmm/pkg/event"
)

// This file is about hooks, the programs that the monitor runs, and alerts, the messages that it sends.

// maxHookTimeout leaves time for the move itself: mmm_control waits for five minutes, also for hooks that may stop its
// move.
const maxHookTimeout = 2 * time.Minute

// Hook is a section <hook NAME>.
type Hook struct {
	Name     string
	Program  string // absolute
	Events   []string
	Timeout  time.Duration // above 0, at most two minutes
	MayAbort bool
}

// Alert is a section <alert NAME>: for the monitor it has a Webhook, an SMTP, or both.
type Alert struct {
	Name         string
	Events       []string
	MinInterval  time.Duration // 0: every event at once
	Webhook      Secret        // URL; "": none
	WebhookToken Secret        // "": none
	SMTP         string        // HOST:PORT; "": no mail
	SMTPTLS      SMTPTLS
	SMTPUser     string // "": no login
	SMTPPassword Secret // set where SMTPUser is
	MailFrom     string
	MailTo       []string // at least one where there is SMTP
}

// SMTPTLS is how the connection to a mail server is protected.
type SMTPTLS string

// The ways to protect the connection to a mail server.
const (
	StartTLS SMTPTLS = "starttls" // the server must offer it
	FromTLS  SMTPTLS = "tls"
	NoTLS    SMTPTLS = "none"
)

func hook(s *section) Hook {
	h := Hook{
		Name:     s.name,
		Program:  get[string](s, "program"),
		Events:   get[[]string](s, "events"),
		Timeout:  get[time.Duration](s, "timeout"),
		MayAbort: get[bool](s, "may_abort"),
	}
	switch {
	case h.Events != nil:
	case h.MayAbort:
		h.Events = []string{string(event.BeforePlannedMove)}
	default:
		h.Events = []string{string(event.All)}
	}
	return h
}

func alert(s *section) Alert {
	return Alert{
		Name:         s.name,
		Events:       get[[]string](s, "events"),
		MinInterval:  get[time.Duration](s, "min_interval"),
		Webhook:      get[Secret](s, "webhook"),
		WebhookToken: get[Secret](s, "webhook_token"),
		SMTP:         get[string](s, "smtp"),
		SMTPTLS:      SMTPTLS(get[string](s, "smtp_tls")),
		SMTPUser:     get[string](s, "smtp_user"),
		SMTPPassword: get[Secret](s, "smtp_password"),
		MailFrom:     get[string](s, "mail_from"),
		MailTo:       get[[]string](s, "mail_to"),
	}
}

// validateHooks does not look at the programs of hooks. A program that is missing is no reason for the monitor not to
// start: the log says so when the hook would run.
func (m *model) validateHooks() {
	absolute := func(s *section, variable string) {
		if path := get[string](s, variable); path != "" && !filepath.IsAbs(path) {
			m.errs.add(s.where(variable), "%s must be an absolute path, not %q", s.whose(variable), path)
		}
	}
	absolute(m.unique("monitor"), "hook_dir")
	for _, s := range m.all("hook") {
		absolute(s, "program")
		if timeout := get[time.Duration](s, "timeout"); timeout > maxHookTimeout {
			m.errs.add(s.where("timeout"), "%s must be at most %s, not %s", s.whose("timeout"), maxHookTimeout, timeout)
		}
	}
}

func (m *model) validateAlerts() {
	if m.program != Monitor {
		return
	}
	for _, s := range m.all("alert") {
		set := func(variable string) bool { _, ok := s.vals[variable]; return ok && s.vals[variable].given }
		needs := func(variable, other string) {
			if set(variable) && !set(other) {
				m.errs.add(s.where(variable), "%s needs '%s' beside it", s.whose(variable), other)
			}
		}
		if !set("webhook") && !set("smtp") {
			m.errs.add(s.at, "%s tells nobody; set 'webhook' or 'smtp'", s.label())
		}
		needs("webhook_token", "webhook")
		for _, variable := range []string{"smtp_user", "mail_from", "mail_to"} {
			needs(variable, "smtp")
		}
		needs("smtp", "mail_from")
		needs("smtp", "mail_to")
		needs("smtp_user", "smtp_password")
		needs("smtp_password", "smtp_user")
		m.validateURL(s)
		if set("smtp_password") && SMTPTLS(get[string](s, "smtp_tls")) == NoTLS {
			m.errs.add(s.where("smtp_password"), "%s would be sent unprotected; set 'smtp_tls' to %s or %s",
				s.whose("smtp_password"), StartTLS, FromTLS)
		}
		m.validateMail(s, "mail_from", get[string](s, "mail_from"))
		for _, to := range get[[]string](s, "mail_to") {
			m.validateMail(s, "mail_to", to)
		}
	}
}

// validateURL checks a URL that was read from webhook_file. The error shows nothing of the URL, which may hold a key.
func (m *model) validateURL(s *section) {
	if u := get[Secret](s, "webhook"); u != "" {
		if err := checkURL(u.Reveal()); err != nil {
			m.errs.add(s.where("webhook"), "%s %v", s.whose("webhook"), err)
		}
	}
}

func (m *model) validateMail(s *section, variable, address string) {
	if address == "" {
		return
	}
	if a, err := mail.ParseAddress(address); err != nil || a.Address != address {
		m.errs.add(s.where(variable), "%s must be mail addresses such as dba@example.com, not %q", s.whose(variable),
			address)
	}
}
