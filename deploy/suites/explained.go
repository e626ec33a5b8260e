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
	{"jambonz/uac-expect-500.xml", "its application's web hook fails; a number here has none, and is answered"},
	{"jambonz/uac-expect-603.xml", "its application declines; no number here does: who calls is answered"},
	{"jambonz/uac-in*-account-expect-503.xml", "X-Account-Sid chooses an account there; here a trunk is known by its address, and this one is on"},
	{"jambonz/uac-invite-expect-183-cancel.xml", "its application plays before it answers; a number here is answered at once (early media and CANCEL: TestReliableIn, siphon/cancel.xml)"},
	{"jambonz/uac-invite-expect-480.xml", "its application refuses with 480 after 183; a number here is answered"},
	{"jambonz/uac-info-expect-480.xml", "INFO outside a dialog: 481 (RFC 6086 3)"},
	{"jambonz/uac-options-expect-480.xml", "OPTIONS to a number that is answered: 200 (RFC 3261 11.2)"},
	{"jambonz/uac-register-expect-480.xml", "REGISTER shows a password first: 401 (RFC 3261 10.3)"},
	{"jambonz/uac-*-expect-480.xml", "a method that is not served: 405 with Allow (RFC 3261 8.2.1)"},
	{"jambonz/uac-transcribe-our-creds-fail-low-balance.xml", "sipp refuses the file: invalid XML"},
	{"jambonz/uac-refer-*", "wants an application that sends its caller elsewhere; here only an agent does, over a trunk that may (TestReferOut)"},
	{"jambonz/uac-device-unknown-realm.xml", "there a domain chooses the account; here the address does, and is asked for its password: 401"},
	{"jambonz/uac-device-*", "a wrong password or name gets 401 again, both the same (RFC 3261 22.1): 403 would tell that the name exists"},
	{"jambonz/uac-send-info-during-dialog.xml", "wants an application that sends INFO; here only a key that an agent presses is one, where no telephone-event was agreed"},
	{"jambonz/uac-success-info-received-bye.xml", "INFO with text/plain: 415 with Accept (RFC 3261 21.4.13)"},
	{"jambonz/uac-pcap-device-success-in-dialog-request.xml", "INFO with text/plain: 415 with Accept (RFC 3261 21.4.13)"},
	{"jambonz/uas-dial.xml", "wants INFO and a second INVITE of an application of jambonz"},
	{"jambonz/uas-dial-refer.xml", "who is called may not send the call elsewhere, for whom it would cost: 603 (toll fraud)"},
	{"sendto/001_torture_4475_3_1_1_2", "501, as RFC 4475 itself allows"},
	{"sendto/001_torture_4475_3_1_1_4", "a telephone shows its password first: 401"},
	{"sendto/001_torture_4475_3_1_1_5", "501, as RFC 4475 itself allows"},
	{"sendto/159_no_rport_nit", "not ours: MESSAGE, 405"},
	{"sendto/999_message_no_body", "the body that is announced is not there: 400 (RFC 3261 18.3)"},
	{"sendto/152_*", "no stream we could take: 488"},
	{"sendto/161_err_replaces_dlg_not_found", "its Replaces has no tags, which RFC 3891 6.1 wants: 400"},
	{"sendto/172_timer_*", "a timer is always used where the peer knows timers (RFC 4028 9 lets us): carriers cut calls without one"},
	{"sendto/174_timer_se_too_small", "1800 s is not too small here: our least is 90 (RFC 4028 5)"},
	{"sendto/20?_ice_*", "no ICE on a SIP leg: an answer without it is legal"},
	{"sendto/321_srtp2_recv_avp", "keys beside RTP/AVP are taken, and the sound is encrypted"},
	{"sendto/3[02]?_srtp*", "no key we could take: 488 (RFC 3264 6, ORIGIN.md), where pjsip says 406"},
	{"sendto/3[02]?_srtp2_*", "no key we could take: 488 (RFC 3264 6, ORIGIN.md), where pjsip says 406"},
	{"sendto/361_non_sip_uri", "no SIP URI among its Contacts: 400 (RFC 3261 8.1.1.8), where pjsip says 500"},
	{"sendto/36[02]_non_sip_uri", "its Contacts are taken; neither request URI nor To names a number: 404 (RFC 3261 8.2.2.1)"},
	{"sendto/36[34]_*", "not ours: SUBSCRIBE, 405"},
	{"sendto/500_pres_*", "not ours: SUBSCRIBE, 405"},
	{"sendto/4[01]?_fmtp_*", "not ours: G.722.1 and AMR, 488"},
	{"pjsip/uac-inv-retrans-after-ack.xml", "an INVITE repeated after the ACK is taken in without a word (RFC 6026 7.1)"},
	{"pjsip/uac-reinvite-bad-via-branch.xml", "a re-INVITE with the branch of the INVITE is that INVITE repeated (RFC 3261 17.2.3)"},
	{"pjsip/uac-norefersub-disabled.xml", "wants norefersub switched off; it is always supported here"},
	{"pjsip/uac-message-no-body.xml", "not ours: MESSAGE, 405"},
	{"pjsip/uac-subscribe.xml", "not ours: SUBSCRIBE, 405"},
	{"pjsip/uac-srtp-dtls-reinv-sdes.xml", "this trunk's keys are DTLS, and by UDP an SDES key could be read on the way: 488, and the call goes on as it was (RFC 3261 14.2)"},
	{"pjsip/uac-prack-*.xml", "wants a 183 until the other phone is told to answer; a number here is answered at once (PRACK with SDP: TestReliableIn)"},
	{"pjsip/uac-upd-*.xml", "wants a 183 until the other phone is told to answer; a number here is answered at once (UPDATE: siphon/update.xml)"},
	{"pjsip/uac-early-recv-update-481.xml", "wants the other phone to send UPDATE before it answers"},
	{"pjsip/uac-ticket-1148.xml", "wants the other phone to hold by a re-INVITE; holding here is music in the same stream"},
	{"pjsip/uac-inv-two-media-but-one-disabled-no-rtpmap.xml", "wants the other phone to hold by a re-INVITE; holding here is music in the same stream"},
	{"pjsip/uas-answer-*-multiple-fmts*.xml", "wants a second offer with one codec; here each codec of the answer is heard when it comes (RFC 3264 6.1)"},
	{"pjsip/uas-answer-200-*.xml", "wants the other phone to hold by re-INVITE or UPDATE; holding here is music in the same stream"},
	{"pjsip/uas-keep-call-on-tsx-fail.xml", "wants the other phone to hold by a re-INVITE; holding here is music in the same stream"},
	{"pjsip/uas-reinv-after-failed-nego.xml", "wants the other phone to hold by a re-INVITE; holding here is music in the same stream"},
	{"pjsip/uas-reinv-glare.xml", "wants the other phone to hold by UPDATE; holding here is music in the same stream (glare: TestGlare)"},
	{"pjsip/uas-reinv-and-ack-*.xml", "its 200 has no To tag and its re-INVITE a From tag: no dialog of ours, 481 (RFC 3261 12.2.2)"},
	{"pjsip/uas-reinv-with-less-media.xml", "its 200 has no To tag and its re-INVITE a From tag: no dialog of ours, 481 (RFC 3261 12.2.2)"},
	{"pjsip/uas-timer-update.xml", "its 400 to an UPDATE without SDP is followed by a re-INVITE with SDP (RFC 4028 7.4), not by a second UPDATE"},
	{"pjsip/uas-early-bye.xml", "the callee may not send BYE before it has answered (RFC 3261 15): 200, or 481 when it comes before its 180 is read"},
	{"pjsip/uas-norefersub-disabled.xml", "wants norefersub switched off; it is always supported here"},
	{"pjsip/uas-subscribe-*", "not ours: SUBSCRIBE is not sent"},
	{"pjsip/uas-mwi*", "not ours: SUBSCRIBE is not sent"},
	{"pjsip/uas-register-ip-change-port-only.xml", "wants a new REGISTER whenever an answer shows another port; ours comes at half time, for a trunk's Contact is set (signal_ip)"},
}

func why(suite, file string) string {
	for _, e := range explained {
		if ok, err := path.Match(e[0], suite+"/"+file); err == nil && ok {
			return e[1]
		}
	}
	return ""
}
