import { createPinia } from 'pinia'
import { createApp } from 'vue'
import App from './App.vue'
import './desk.css'
import { makeRouter } from './router'
import { takeLinkToken, watchForLink } from './link'
import { connect } from './wire'

const app = createApp(App)
app.use(createPinia())
const token = takeLinkToken() // before the router sees the address
watchForLink()
app.use(makeRouter(token))
connect()
app.mount('#desk')
