// Building blocks of every page. Text only ever becomes text nodes: nothing in a sheet can turn into markup.

/** An element; attributes named on* are listeners, `false` and `null` leave an attribute out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button; after a click with a pointer it gives the focus back, so that Space plays again. */
function button(label, attributes, ...more) {
  const element = make('button', { type: 'button', ...attributes }, label, ...more);
  element.addEventListener('click', (event) => {
    if (event.detail > 0) element.blur();
  });
  return element;
}

/** A key's name, as in the help line; hidden where there is no keyboard. */
function keyCap(name) {
  return make('kbd', {}, name);
}

let hideMessage = 0;

/** Say something to the eye and to a screen reader; after some seconds it goes away. */
function announce(text) {
  const live = document.getElementById('live');
  live.textContent = text;
  clearTimeout(hideMessage);
  hideMessage = setTimeout(() => live.replaceChildren(), 10000);
}

/** A function that runs once: a double click must not go on twice. */
function once(action) {
  let over = false;
  return (...values) => {
    if (over) return;
    over = true;
    action(...values);
  };
}

/** Put a page on the screen; `name` says which, for styles and for tests. */
function show(name, heading, ...nodes) {
  const title = make('h1', { tabindex: '-1' }, heading);
  document.body.dataset.page = name;
  document.getElementById('main').replaceChildren(title, ...nodes.filter((node) => node !== null));
  window.scrollTo(0, 0);
  title.focus({ preventScroll: true });
}

/** The line above every page: the test's title and how far one is; `total` 0 hides the progress. */
function showHead(title, text, done, total) {
  const parts = [make('span', { class: 'title' }, title)];
  if (text) parts.push(make('span', { class: 'where', id: 'where' }, text));
  if (total) parts.push(make('progress', { max: total, value: done, 'aria-label': text }));
  document.getElementById('head').replaceChildren(...parts);
}
