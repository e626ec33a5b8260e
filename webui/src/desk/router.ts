import { createRouter, createWebHistory, type Router } from 'vue-router'
import { useSession } from './stores/session'
import SignIn from './SignIn.vue'
import Desk from './Desk.vue'

// makeRouter: a link's token is traded once, on the sign-in screen, which also shows why it failed.
export function makeRouter(linkToken: string): Router {
  let token = linkToken
  const takeLink = (): string => {
    const taken = token
    token = ''
    return taken
  }
  const router = createRouter({
    history: createWebHistory('/desk/'),
    routes: [
      { path: '/sign-in', name: 'sign-in', component: SignIn, props: () => ({ takeLink }) },
      { path: '/:id(\\d+)?', name: 'desk', component: Desk },
      { path: '/settings/:section(trunks|numbers|devices|sounds|queues|lines|agents|skills)?', name: 'settings', component: Desk },
      { path: '/reach', name: 'reach', component: Desk },
      { path: '/calls/:call(\\d+|times)?', name: 'calls', component: Desk },
      { path: '/:rest(.*)*', redirect: '/' },
    ],
  })
  router.beforeEach(async (to) => {
    const session = useSession()
    if (to.name === 'sign-in') return true
    if (token) return { name: 'sign-in', query: to.query }
    if (!session.checked) await session.load().catch(() => {})
    return session.me || !session.checked ? true : { name: 'sign-in', query: to.query }
  })
  return router
}
