// Which store hears which frame. The one place where the desk's parts meet the socket.
import { watch } from 'vue'
import { useConversation } from './stores/conversation'
import { useLists } from './stores/lists'
import { useLive } from './stores/live'
import { useOffer } from './stores/offer'
import { useOutbox } from './stores/outbox'
import { useSession } from './stores/session'
import { useTeam } from './stores/team'
import { usePhone } from '../softphone/phone'
import { useTelephone } from '../admin/telephone'
import { useTrunkAlarms } from '../admin/alarms'
import { usePromises } from '../reports/promises'
import type { Me } from '../shared/api'

// connect wires everything once; start and stop follow the signed-in agent.
export function connect(): void {
  const live = useLive()
  const session = useSession()
  const lists = useLists()
  const team = useTeam()
  const conversation = useConversation()
  const outbox = useOutbox()
  const offer = useOffer()
  const phone = usePhone()
  const telephone = useTelephone()
  const alarms = useTrunkAlarms()
  const promises = usePromises()

  outbox.whenStored((m) => {
    if (m.conversation_id === conversation.id) conversation.add([m])
  })

  function readAgain(me: Me | undefined): void {
    if (me) {
      session.apply(me)
      offer.show(me.offer)
      phone.receiveCall(me.call)
    }
    void lists.refresh()
    void team.load()
    void conversation.again()
    telephone.news()
    if (session.me && session.me.role !== 'agent') {
      void alarms.load()
      void promises.load()
    }
  }

  live.on('hello', (frame) => {
    readAgain(frame.me)
    phone.hello()
    outbox.hurry()
  })
  live.on('resync', () => void session.load().then(() => readAgain(session.me), () => readAgain(undefined)))
  live.on('conversations', (frame) => {
    for (const row of frame.conversations ?? []) lists.receive(row)
    promises.changed((frame.conversations ?? []).map((row) => row.id))
    team.news()
  })
  live.on('conversation', (frame) => {
    if (frame.conversation) {
      lists.receive(frame.conversation, frame.counts)
      promises.changed([frame.conversation.id])
    }
    team.news()
  })
  live.on('promises', () => void promises.load())
  live.on('message', conversation.receive)
  live.on('state', conversation.receiveState)
  live.on('draft', conversation.receiveDraft)
  live.on('typing', conversation.receiveTyping)
  live.on('card', conversation.receiveCard)
  live.on('transcript', conversation.receiveTranscript)
  live.on('offer', (frame) => offer.show(frame.offer))
  live.on('offer_ended', offer.receiveEnd)
  live.on('presence', (frame) => frame.me && session.apply(frame.me))
  live.on('phone', phone.receivePhone)
  live.on('call', (frame) => phone.receiveCall(frame.call))
  live.on('telephone', telephone.news)
  live.on('alarm', (frame) => alarms.receive(frame.alarm))
  live.on('call_dtmf', phone.receiveKey)

  watch(
    () => session.id,
    (id, before) => {
      if (id && !before) {
        outbox.load()
        void lists.load('waiting').then(() => lists.load('urgent')) // the figures of the rail and the footer, and what is above all
        phone.start()
        live.start()
      } else if (!id) {
        live.stop()
        phone.stop()
        offer.show(undefined)
        conversation.leave()
      }
    },
    { immediate: true },
  )
  watch(() => live.signedOut, session.lost)
}
