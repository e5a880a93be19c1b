// In which order a listener meets trials and stimuli. The same sheet and listener always give the same order.
//
// Every decision has a random stream of its own, seeded by the lines order_seed, listener and purpose, so that one
// trial's order does not depend on how many other trials there are.

/** 32-bit seed of a text: FNV-1a over its UTF-8 bytes, then the finalizer of MurmurHash3. */
function seedOf(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Uniform numbers in [0, 1): the generator mulberry32. */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A shuffled copy (Fisher and Yates). */
function shuffled(items, random) {
  const copy = items.slice();
  for (let last = copy.length - 1; last > 0; last -= 1) {
    const pick = Math.floor(random() * (last + 1));
    [copy[last], copy[pick]] = [copy[pick], copy[last]];
  }
  return copy;
}

/** The trials (`part` is 'trials' or 'training') in this listener's order: {trial, reference, stimuli, x}. */
function orderOf(sheet, listener, part) {
  const stream = (...purpose) => randomFrom(seedOf([sheet.order_seed, listener, part, ...purpose].join('\n')));
  const trials = sheet[part].flatMap((trial) => (sheet.method === 'acr' ? alone(trial) : [trial]));
  return shuffled(trials, stream('order')).map((trial) => {
    const stimuli = shuffled(trial.stimuli, stream('stimuli', trial.trial));
    // X is an independent fair coin in every trial: that is what the binomial test of the answers assumes.
    const x = sheet.method === 'abx' ? stimuli[stream('x', trial.trial)() < 0.5 ? 0 : 1] : '';
    return { trial: trial.trial, reference: trial.reference, stimuli, x };
  });
}

/** An absolute rating is given with nothing to compare: every stimulus is on a page of its own. */
function alone(trial) {
  return trial.stimuli.map((stimulus) => ({ ...trial, stimuli: [stimulus] }));
}
