import type { Budgets, BurnDownView, ExplanationView, ListBody, PlanView } from '@fleetgate/shared/api/operations';
import { check } from '@fleetgate/shared/check';
import { FleetError } from '@fleetgate/shared/errors';
import { type PlanId, planIdSchema } from '@fleetgate/shared/ids';
import { Body, Controller, Get, HttpCode, Inject, Param, Post, Put, Query, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';

import { note } from '../access/caller.js';
import { BudgetControl } from '../dispatch/control/budget-control.js';
import { budgetsSchema, parseBudgets } from '../planning/budgets.js';
import { explainRequestSchema, needsSolver } from '../planning/explain-request.js';
import { planView } from '../planning/plan-view.js';
import { Planner } from '../planning/planner.js';

/** Budgets to try out without setting them. */
const proposalSchema = z.strictObject({ budgets: budgetsSchema.optional() });

@Controller('api/v1')
export class PlanController {
  constructor(
    @Inject(Planner) private readonly planner: Planner,
    @Inject(BudgetControl) private readonly control: BudgetControl,
  ) {}

  @Get('plans')
  plans(): ListBody<PlanView> {
    return { items: this.planner.plans.views() };
  }

  @Get('plans/:id')
  plan(@Param('id') id: string): PlanView {
    return planView(this.planner.plans.record(idOf(id)));
  }

  @Get('plans/:id/explain')
  async explain(@Param('id') id: string, @Query() query: unknown): Promise<ExplanationView> {
    const request = check(explainRequestSchema, query, 'request.invalid', 'query', {
      hint: 'explain?overview=true&curve=power|latency&swap=DEVICE:VARIANT:VARIANT&device=ID, each optional',
    });
    const { state, status, trigger, explanation, constraints, conflict, relaxations, repairs } = this.plan(id);
    const binding = constraints.filter((constraint) => constraint.binding);
    const more = needsSolver(request) ? await this.planner.explain(idOf(id), request) : {};
    const joint = repairs === undefined ? {} : { repairs };
    return { id, state, status, trigger, explanation, binding, conflict, relaxations, ...joint, ...more };
  }

  @Post('plans/propose')
  @HttpCode(201)
  async propose(@Body() body: unknown): Promise<PlanView> {
    const { budgets } = check(proposalSchema, body ?? {}, 'budget.invalid', 'proposal', {
      hint: 'send {} or {"budgets": ...}; GET /api/v1/budgets shows the present ones',
    });
    return planView(await this.planner.propose('requested', budgets === undefined ? undefined : parseBudgets(budgets)));
  }

  @Post('plans/:id/apply')
  @HttpCode(200)
  async apply(@Param('id') id: string): Promise<PlanView> {
    return planView(await this.planner.apply(idOf(id)));
  }

  @Post('plans/rollback')
  @HttpCode(200)
  async rollback(@Req() request: FastifyRequest): Promise<PlanView> {
    const record = await this.planner.rollback();
    note(request, { target: record.id });
    return planView(record);
  }

  @Get('budgets')
  budgets(): Budgets {
    return this.planner.budgets();
  }

  @Get('budgets/burn-down')
  burnDown(): BurnDownView {
    return this.control.burnDown();
  }

  @Put('budgets')
  async setBudgets(@Body() body: unknown, @Req() request: FastifyRequest): Promise<Budgets> {
    const before = this.planner.budgets();
    const budgets = await this.planner.setBudgets(body);
    note(request, { before, after: budgets });
    return budgets;
  }
}

function idOf(id: string): PlanId {
  const parsed = planIdSchema.safeParse(id);
  if (parsed.success) return parsed.data;
  throw new FleetError('plan.unknown', `there is no plan ${JSON.stringify(id)}`, {
    hint: '`fleetgate plan show` lists the kept plans',
  });
}
