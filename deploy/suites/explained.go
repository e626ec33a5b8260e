package main

import "path"

// explained says in one line why misses are by design, by patterns of suite/file; the first that fits. "not ours:" marks what
// a contact center has no use for.
var explained = [][2]string{
	{"siphon/auth_invite.xml", "the file takes no 100 before the 401; RFC 3261 8.2.6.1 allows it, and INVITE gets it at once"},
	{"siphon/message.xml", "not ours: MESSAGE, 405"},
	{"siphon/subscribe_*.xml", "not ours: SUBSCRIBE, 405"},
	{"siphon/prack.xml", "the file wants a first RSeq of 1; RFC 3262 3 has it random"},
	{"siphon/prack_bad_rack.xml", "the file wants 400; RFC 3262 3 says 481"},
	{"siphon/refer*.xml", "who calls may not send the call elsewhere: 603; REFER is taken from agents' telephones"},
	{"siphon/register*.xml", "a telephone always shows its password: 401"},
	{"rfc4475/tcp clerr.dat", "a stream waits for the rest of the body until its read deadline (ORIGIN.md)"},
	{"rfc4475/tcp inv2543.dat", "without Content-Length a stream cannot be framed: 400 (RFC 3261 18.3)"},
	{"rfc4475/tcp baddn.dat", "no empty line ends its headers: a stream waits for more until its read deadline"},
	{"jambonz/*expect-*", "wants an application of jambonz behind the number; here it is answered, or gets the code of RFC 3261 (404, 405, 481)"},
	{"jambonz/uac-pcap-*", "plays a pcap of upstream's test set-up that is not there"},
	{"jambonz/uac-say-*", "calls a number of upstream's set-up that is not ours: 404"},
	{"jambonz/uac-transcribe-our-creds-fail-low-balance.xml", "sipp refuses the file: invalid XML"},
	{"jambonz/uac-transcribe-*", "calls a number of upstream's set-up that is not ours: 404"},
	{"jambonz/uac-refer-*", "wants an application that sends REFER to the caller; a trunk gets none unless it may"},
	{"jambonz/uac-device-*", "wants a challenge by realm; this trunk is known by its address"},
	{"jambonz/uac-send-info-during-dialog.xml", "wants an application that sends INFO to the caller"},
	{"jambonz/uac-success-info-received-bye.xml", "INFO with a body type that is not taken here: 415 with Accept"},
	{"jambonz/uac-*success*", "wants an application that hangs up; the greeting waits for a key here"},
	{"sendto/001_torture_4475_3_1_1_2", "501, as RFC 4475 itself allows"},
	{"sendto/001_torture_4475_3_1_1_3", "no number of ours: 404"},
	{"sendto/001_torture_4475_3_1_1_4", "a telephone shows its password first: 401"},
	{"sendto/001_torture_4475_3_1_1_5", "501, as RFC 4475 itself allows"},
	{"sendto/110_tel_uri", "two Contacts in an INVITE: 400 (RFC 3261 8.1.1.8)"},
	{"sendto/159_no_rport", "no number of ours: 404"},
	{"sendto/999_asterisk_err", "no number of ours: 404"},
	{"sendto/159_no_rport_nit", "not ours: MESSAGE, 405"},
	{"sendto/999_message_no_body", "the body that is announced is not there: 400 (RFC 3261 18.3)"},
	{"sendto/152_*", "no stream we could take: 488"},
	{"sendto/161_err_replaces_dlg_not_found", "its Replaces has no tags, which RFC 3891 6.1 wants: 400"},
	{"sendto/172_timer_*", "a timer is always used where the peer knows timers: carriers cut calls without one"},
	{"sendto/174_timer_se_too_small", "1800 s is not too small here; our least is 90"},
	{"sendto/20?_ice_*", "no ICE on a SIP leg: an answer without it is legal"},
	{"sendto/321_srtp2_recv_avp", "keys beside RTP/AVP are taken, and the sound is encrypted"},
	{"sendto/3[02]?_srtp*", "no key we could take: 488, where pjsip says 406"},
	{"sendto/3[02]?_srtp2_*", "no key we could take: 488, where pjsip says 406"},
	{"sendto/36[0-2]_non_sip_uri", "several Contacts in an INVITE: 400 (RFC 3261 8.1.1.8)"},
	{"sendto/36[34]_*", "not ours: SUBSCRIBE, 405"},
	{"sendto/500_pres_*", "not ours: SUBSCRIBE, 405"},
	{"sendto/4[01]?_fmtp_*", "not ours: G.722.1 and AMR, 488"},
	{"pjsip/uac-inv-retrans-after-ack.xml", "an INVITE repeated after the ACK is taken in without a word (RFC 6026 7.1)"},
	{"pjsip/uac-reinvite-bad-via-branch.xml", "a re-INVITE with the branch of the INVITE is that INVITE repeated (RFC 3261 17.2.3)"},
	{"pjsip/uac-norefersub-disabled.xml", "wants norefersub switched off; it is always supported here"},
	{"pjsip/uac-message-no-body.xml", "not ours: MESSAGE, 405"},
	{"pjsip/uac-subscribe.xml", "not ours: SUBSCRIBE, 405"},
	{"pjsip/uac-srtp-sdes*.xml", "SDES keys by UDP could be read on the way: 488 by rule, and sipp has no TLS"},
	{"pjsip/uac-srtp-dtls-reinv-sdes.xml", "SDES keys by UDP could be read on the way: 488 by rule, and sipp has no TLS"},
	{"pjsip/uac-prack-*.xml", "wants a 183 that rings until the other phone is told to answer; here 180, then 200"},
	{"pjsip/uac-upd-*.xml", "wants a 183 that rings until the other phone is told to answer; here 180, then 200"},
	{"pjsip/uac-early-recv-update-481.xml", "wants the other phone to send UPDATE before it answers"},
	{"pjsip/uac-ticket-1148.xml", "wants the other phone to be told to re-INVITE"},
	{"pjsip/uac-inv-two-media-but-one-disabled-no-rtpmap.xml", "wants the other phone to be told to re-INVITE"},
	{"pjsip/uac-ticket-186[46]-*.xml", "wants a phone without PCMA, which then refuses; PCMA is spoken here"},
}

func why(suite, file string) string {
	for _, e := range explained {
		if ok, err := path.Match(e[0], suite+"/"+file); err == nil && ok {
			return e[1]
		}
	}
	return ""
}
