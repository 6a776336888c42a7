// Undo and redo, step by step, among one's own edits and those of others, against Y.UndoManager: two documents of the
// same client, one in Yjs and one in src/crdt, make the same edits, are sent the same updates of two others, and take
// back the same steps. After every step their bytes, what they show, the updates that they made and whether there is
// more to undo or to redo must be equal. Steps are grouped by a clock that both share, or ended on purpose; some edits
// have origins that are not tracked, and some that others sent have one that is.
import { advance, time } from './clock.mjs'
import * as Y from 'yjs'
import {
  bytes, canonical, editYjs, fail, finish, hex, newOurs, newYjs, operationsOr, ours, pick, random, same, sameViews, someEdits, viewOfOurs, viewOfYjs
} from './harness.mjs'

const counts = { histories: 0, steps: 0, undone: 0, redone: 0, remote: 0 }

class Pair {
  static async make (client) {
    const pair = new Pair()
    const hasMap = random(4) > 0
    const ignores = random(3) === 0
    const timeout = pick([0, 500])
    pair.yjs = newYjs(client)
    pair.made = []
    pair.yjs.on('update', update => pair.made.push(hex(update)))
    const scope = [pair.yjs.getText('text'), ...(hasMap ? [pair.yjs.getMap('map')] : [])]
    pair.undo = new Y.UndoManager(scope, { captureTimeout: timeout, trackedOrigins: new Set([null, 'me']), ignoreRemoteMapChanges: ignores })
    pair.ours = await newOurs(client)
    await pair.both({ c: 'track', map: hasMap, ignores, timeout }, () => {})
    return pair
  }

  // The command to ours, and the same in Yjs. Gives the updates that it made.
  async both (command, inYjs) {
    inYjs()
    const what = canonical(command).slice(0, 300)
    const answer = await ours({ ...command, doc: this.ours, now: time() })
    if (answer.error) fail(`${what}: ${answer.error}`)
    const made = this.made.splice(0)
    same(`${what}: what it makes`, made.join(' '), answer.updates.join(' '))
    same(`${what}: can undo`, this.undo.canUndo(), answer.can_undo)
    same(`${what}: can redo`, this.undo.canRedo(), answer.can_redo)
    const view = await viewOfOurs(this.ours)
    sameViews(what, { ...viewOfYjs(this.yjs), update: hex(Y.encodeStateAsUpdate(this.yjs)) }, view)
    counts.steps++
    return made
  }

  edit () {
    const origin = pick(['', 'me', 'me', 'elsewhere'])
    const ops = someEdits(this.yjs.getText('text').length)
    return this.both({ c: 'many', ops, origin }, () => this.yjs.transact(() => ops.forEach(op => editYjs(this.yjs, op)), origin || null))
  }

  apply (update, origin) {
    counts.remote++
    return this.both({ c: 'apply', u: update, origin }, () => Y.applyUpdate(this.yjs, bytes(update), origin))
  }
}

async function history (steps) {
  const pair = await Pair.make(1 + random(1000) * 3)
  const others = [1, 2].map(i => {
    const doc = newYjs(random(1000) * 3 + 1 + i)
    const other = { doc, inbox: [], outbox: [] }
    doc.on('update', (update, origin) => { if (origin !== 'network') other.outbox.push(hex(update)) })
    return other
  })
  const spread = (updates, from) => { for (const other of others) if (other !== from) other.inbox.push(...updates) }
  for (let step = 0; step < steps; ++step) {
    advance(pick([0, 100, 400, 600]))
    const kind = random(100)
    let made = []
    if (kind < 35) made = await pair.edit()
    else if (kind < 55) { made = await pair.both({ c: 'undo' }, () => pair.undo.undo()); counts.undone++ } else if (kind < 68) {
      made = await pair.both({ c: 'redo' }, () => pair.undo.redo()); counts.redone++
    } else if (kind < 71) made = await pair.both({ c: 'stop' }, () => pair.undo.stopCapturing())
    else if (kind < 72) made = await pair.both({ c: 'clear' }, () => pair.undo.clear())
    else {
      const other = pick(others)
      for (let count = random(4); count > 0 && other.inbox.length > 0; --count) Y.applyUpdate(other.doc, bytes(other.inbox.shift()), 'network')
      if (random(3) > 0) {
        const ops = someEdits(other.doc.getText('text').length)
        other.doc.transact(() => ops.forEach(op => editYjs(other.doc, op)))
      }
      for (let count = random(3); count > 0 && other.outbox.length > 0; --count) {
        const update = other.outbox.shift()
        spread([update], other)
        made.push(...await pair.apply(update, random(6) === 0 ? 'me' : 'remote'))
      }
    }
    spread(made)
  }
  for (const other of others) {
    for (const update of other.outbox.splice(0)) {
      spread([update], other)
      spread(await pair.apply(update, 'remote'))
    }
  }
  for (const other of others) for (const update of other.inbox) Y.applyUpdate(other.doc, bytes(update), 'network')
  while (pair.undo.canUndo()) await pair.both({ c: 'undo' }, () => pair.undo.undo())
  while (pair.undo.canRedo()) await pair.both({ c: 'redo' }, () => pair.undo.redo())
  await ours({ c: 'drop', doc: pair.ours })
}

const total = operationsOr(4000)
while (counts.steps < total) {
  await history(150)
  counts.histories++
}
finish(`${counts.steps} steps in ${counts.histories} histories, ${counts.undone} undone, ${counts.redone} redone, ${counts.remote} of others; all equal`)
