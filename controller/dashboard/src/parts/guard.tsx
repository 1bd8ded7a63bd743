import { Component, type ComponentChildren } from 'preact';

import { reasonOf } from '../api/failure.js';

interface GuardProps {
  readonly title: string;
  readonly children: ComponentChildren;
}

/** A fault in one section leaves the others standing. */
export class Guard extends Component<GuardProps, { readonly reason: string | null }> {
  override state: { readonly reason: string | null } = { reason: null };

  override componentDidCatch(error: unknown): void {
    this.setState({ reason: reasonOf(error) });
  }

  override render() {
    const { reason } = this.state;
    if (reason === null) return this.props.children;
    return (
      <section class="section" aria-label={this.props.title}>
        <div class="callout tone-bad" role="alert">
          <p>
            <strong>{this.props.title} could not be drawn.</strong> {reason}
          </p>
          <button type="button" class="button" onClick={() => this.setState({ reason: null })}>
            Draw again
          </button>
        </div>
      </section>
    );
  }
}
