/** Elements of cards. What a service says becomes text here, never markup. */

/** Return an element with a class and children; texts become text nodes. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: ReadonlyArray<Node | string>
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/** Return a button with a text. */
export function button(text: string, title: string, act: () => void): HTMLButtonElement {
  const node = element('button', 'fxl-TaskCard-button', text);
  node.type = 'button';
  node.title = title;
  node.addEventListener('click', event => {
    event.stopPropagation();
    act();
  });
  return node;
}

/** Change a node's text if it is another one; screen readers speak of changes only. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Replace buttons if they are other ones, so that none loses the focus for nothing. */
export class Buttons {
  readonly node: HTMLElement;

  constructor(label: string) {
    this.node = element('div', 'fxl-TaskCard-buttons');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', label);
    this.node.hidden = true;
  }

  /** Show buttons; `key` says which they are. */
  show(key: string, make: () => readonly HTMLElement[]): void {
    if (key === this._key) {
      return;
    }
    this._key = key;
    this.node.replaceChildren(...make());
    this.node.hidden = !this.node.childElementCount;
  }

  private _key = '';
}
