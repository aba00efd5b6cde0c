package app

import (
	"fmt"
	"log/slog"

	"mysql-mmm/pkg/alert"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/hook"
	"mysql-mmm/pkg/monitor"
)

// notifications is what tells programs and people of events.
type notifications struct {
	tasks       []daemon.Task
	subscribers []monitor.Subscriber
	approver    monitor.Approver
}

func newNotifications(c *config.Config, log *slog.Logger) (notifications, error) {
	var out notifications
	if len(c.Hooks) > 0 || c.Monitor.HookDir != "" {
		var hooks []hook.Hook
		for _, h := range c.Hooks {
			hooks = append(hooks, hook.Hook{Name: h.Name, Path: h.Program, Events: names(h.Events), Timeout: h.Timeout,
				MayAbort: h.MayAbort})
		}
		r := hook.New(hooks, c.Monitor.HookDir, log)
		out.tasks, out.subscribers, out.approver = append(out.tasks, r), append(out.subscribers, r), r
	}
	for _, a := range c.Alerts {
		ways, err := waysOf(a)
		if err != nil {
			return notifications{}, err
		}
		for _, w := range ways {
			s := alert.New(a.Name, names(a.Events), a.MinInterval, w, log)
			out.tasks, out.subscribers = append(out.tasks, s), append(out.subscribers, s)
		}
	}
	return out, nil
}

// waysOf gives each way a sender of its own: one that hangs delays no other.
func waysOf(a config.Alert) ([]alert.Way, error) {
	var ways []alert.Way
	if a.Webhook != "" {
		w, err := alert.NewWebhook(a.Webhook.Reveal(), a.WebhookToken.Reveal())
		if err != nil {
			return nil, fmt.Errorf("alert %s: %w", a.Name, err)
		}
		ways = append(ways, w)
	}
	if a.SMTP != "" {
		protection := map[config.SMTPTLS]alert.TLS{config.StartTLS: alert.StartTLS, config.FromTLS: alert.FromTLS,
			config.NoTLS: alert.NoTLS}[a.SMTPTLS]
		ways = append(ways, alert.Mail{Server: a.SMTP, TLS: protection, User: a.SMTPUser,
			Password: a.SMTPPassword.Reveal(), From: a.MailFrom, To: a.MailTo})
	}
	return ways, nil
}

func names(texts []string) []event.Name {
	var list []event.Name
	for _, t := range texts {
		list = append(list, event.Name(t))
	}
	return list
}
