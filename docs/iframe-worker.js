// Search runs in a web worker, which browsers refuse to pages that are opened as files. This
// stand-in runs the same script in a hidden frame. Material for MkDocs would load one from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      addEventListener("message", (event) => {
        if (event.source !== this.inside) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        this.onmessage?.(message);
      });
      const page = this.inside.document;
      page.open();
      page.write(`<body><script>
        postMessage = parent.postMessage.bind(parent);
        importScripts = (...urls) =>
          urls.reduce(
            (before, url) =>
              before.then(
                () =>
                  new Promise((loaded) => {
                    const script = document.createElement("script");
                    script.src = url;
                    script.onload = loaded;
                    document.body.append(script);
                  }),
              ),
            Promise.resolve(),
          );
      <\/script><script src="${url}"><\/script>`);
      page.close();
    }

    postMessage(data) {
      this.inside.dispatchEvent(new MessageEvent("message", { data, source: parent }));
    }

    terminate() {}
  };
}
