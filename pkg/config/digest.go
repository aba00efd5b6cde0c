package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Digests gives digests of values, by which two programs can tell whether they have read the same, and which show no
// value: one for each variable that the monitor and the agents have to agree on, and for an agent also one for each
// variable that the agents should agree on among themselves. The first key is the section as it is written (<host db1>,
// "" for the top level), the second the variable. Digests made with different nonces can't be compared.
//
// Passwords are left out unless there is an agent_secret. Their digests are made with the secret, so that nobody who
// does not know it can try passwords on them. A variable that an agent's file leaves out, as it may, is left out here.
func (c *Config) Digests(nonce string) map[string]map[string]string {
	d := digester{nonce: nonce, secret: c.AgentSecret, sections: map[string]map[string]string{}}
	d.add("", "active_master_role", c.ActiveMasterRole)
	d.add("", "writer_lease", c.WriterLease)
	d.add("", "max_kill_retries", c.MaxKillRetries)
	for _, h := range c.Hosts {
		section := tag("host", h.Name)
		d.add(section, "ip", h.IP)
		d.add(section, "mode", h.Mode)
		d.add(section, "peer", h.Peer)
		d.add(section, "agent_port", h.AgentPort)
		d.add(section, "mysql_port", h.MySQLPort)
		d.add(section, "replication_channel", h.ReplicationChannel)
	}
	for _, r := range c.Roles {
		section := tag("role", r.Name)
		var ips []string
		for _, ip := range r.IPs {
			ips = append(ips, ip.String())
		}
		slices.Sort(ips)
		d.add(section, "ips", strings.Join(ips, ","))
		if len(r.Hosts) > 0 {
			d.add(section, "hosts", strings.Join(slices.Sorted(slices.Values(r.Hosts)), ","))
		}
	}
	if local := c.Local(); local.Name != "" {
		d.add(OwnSection, "agent_user", local.AgentUser)
		d.add(OwnSection, "replication_user", local.ReplicationUser)
		d.password(OwnSection, "agent_password", local.AgentPassword)
		d.password(OwnSection, "replication_password", local.ReplicationPassword)
	}
	return d.sections
}

// OwnSection is the section under which Digests has what an agent reads of its own host's section. It has the same name
// for all agents, so that they can be compared with each other.
const OwnSection = "<host default>"

type digester struct {
	nonce    string
	secret   Secret
	sections map[string]map[string]string
}

func (d digester) add(section, variable string, value any) {
	d.put(section, variable, d.mac(d.nonce, section, variable, fmt.Sprint(value))[:8])
}

func (d digester) password(section, variable string, value Secret) {
	if d.secret != "" {
		key := d.mac(d.secret.Reveal(), "key", "examine", d.nonce)
		d.put(section, variable, d.mac(key, section, variable, value.Reveal())[:16])
	}
}

func (d digester) mac(key, section, variable, value string) string {
	h := hmac.New(sha256.New, []byte(key))
	// %q keeps the parts apart.
	fmt.Fprintf(h, "%q%q%q", section, variable, value)
	return hex.EncodeToString(h.Sum(nil))
}

func (d digester) put(section, variable, digest string) {
	if d.sections[section] == nil {
		d.sections[section] = map[string]string{}
	}
	d.sections[section][variable] = digest
}
