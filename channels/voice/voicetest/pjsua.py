"""A telephone of pjsip's for pjsua.go: commands come as lines of JSON, events go out as lines that begin with "@"."""
import json, os, select, sys
import pjsua2 as pj

setup = json.loads(sys.argv[1])
says, heard = setup["says"], setup["heard"]
calls, players = {}, {}


def tell(**event):
    sys.stdout.write("@" + json.dumps(event) + "\n")
    sys.stdout.flush()


class Call(pj.Call):
    def __init__(self, account, number, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.number, self.recorder = number, None

    def onCallState(self, _):
        info = self.getInfo()
        tell(event="state", call=self.number, state=info.stateText, code=info.lastStatusCode, reason=info.lastReason)

    def onCallMediaState(self, _):
        info = self.getInfo()  # it owns what .media shows
        for m in info.media:
            if m.type != pj.PJMEDIA_TYPE_AUDIO or m.status not in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                continue
            sound = self.getAudioMedia(m.index)
            if self.recorder is None:
                self.recorder = pj.AudioMediaRecorder()
                self.recorder.createRecorder(os.path.join(heard, "%d.wav" % self.number))
            player.startTransmit(sound)
            sound.startTransmit(self.recorder)
            tell(event="sound", call=self.number)

    def onCallTransferRequest(self, prm):  # we are to call somebody else
        prm.newCall = calls[len(calls) + 1] = Call(account, len(calls) + 1)

    def onCallTransferStatus(self, prm):
        tell(event="transfer", call=self.number, code=prm.statusCode, final=prm.finalNotify)
        prm.cont = not prm.finalNotify

    def onDtmfDigit(self, prm):
        tell(event="key", call=self.number, digit=prm.digit)


class Account(pj.Account):
    def onRegState(self, prm):
        tell(event="registered", code=prm.code)

    def onIncomingCall(self, prm):
        call = Call(self, len(calls) + 1, prm.callId)
        calls[call.number] = call
        tell(event="incoming", call=call.number)


def do(c):
    what, prm = c["do"], pj.CallOpParam(True)
    call = calls.get(c.get("call"))
    if what == "dial":
        call = Call(account, len(calls) + 1)
        calls[call.number] = call
        call.makeCall(c["to"], prm)
    elif what == "answer":
        prm.statusCode = 200
        call.answer(prm)
    elif what == "hold":
        call.setHold(prm)
    elif what == "resume":
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(prm)
    elif what == "transfer":
        call.xfer(c["to"], prm)
    elif what == "replace":  # the attended transfer: whom c["other"] talks to takes our place in call
        call.xferReplaces(calls[c["other"]], prm)
    elif what == "keys":
        call.dialDtmf(c["keys"])
    elif what == "info":
        k = pj.CallSendDtmfParam()
        k.method, k.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, c["keys"]
        call.sendDtmf(k)
    elif what == "hangup":
        call.hangup(prm)
    tell(event="done", token=c["token"])


ep = pj.Endpoint()
ep.libCreate()
config = pj.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = setup["log"]
config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
config.medConfig.ecTailLen, config.medConfig.noVad = 0, True
ep.libInit(config)
transport = pj.TransportConfig()
transport.port, transport.boundAddress = setup["port"], setup["address"]
transport_id = ep.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
ep.libStart()
ep.audDevManager().setNullDev()
for codec in ep.codecEnum2():
    ep.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith(setup["codec"]) else 0)
player = pj.AudioMediaPlayer()
player.createPlayer(says)
settings = pj.AccountConfig()
settings.idUri = "sip:%s@%s" % (setup["user"], setup["registrar"] or "%s:%d" % (setup["address"], setup["port"]))
settings.sipConfig.transportId = transport_id
settings.mediaConfig.transportConfig.boundAddress = setup["address"]
settings.mediaConfig.transportConfig.port = setup["rtp"]
if setup["proxy"]:
    settings.sipConfig.proxies.append("sip:%s;lr" % setup["proxy"])
if setup["registrar"]:
    settings.regConfig.registrarUri = "sip:" + setup["registrar"]
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", setup["user"], 0, setup["password"]))
account = Account()
account.create(settings)
tell(event="ready")

rest = b""
while True:
    ep.libHandleEvents(5)
    if not select.select([0], [], [], 0)[0]:
        continue
    some = os.read(0, 65536)
    if not some:
        break
    *lines, rest = (rest + some).split(b"\n")
    for line in lines:
        command = json.loads(line)
        try:
            do(command)
        except pj.Error as e:
            tell(event="refused", token=command["token"], reason=e.info())
for call in calls.values():
    call.recorder = None  # closes the file
ep.hangupAllCalls()
if setup["registrar"]:
    account.setRegistration(False)
for _ in range(20):
    ep.libHandleEvents(10)
sys.stdout.flush()
os._exit(0)  # pjsip asserts when Python takes its objects away in another order than it was given them
