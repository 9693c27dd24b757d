//! EIP-7702: delegations set, changed and cleared inside the block, as sender and as target.

use revm::{
    context::{
        TxEnv,
        either::Either,
        transaction::{Authorization, RecoveredAuthority, RecoveredAuthorization},
    },
    primitives::{Address, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{
    common::{BENEFICIARY, Case, address, output, output_word, skipped, template, word},
    contracts::{ADD, READ, ask, counter, destroy, forwarder, probe, store, write},
};

const FORKS: [SpecId; 2] = [SpecId::PRAGUE, SpecId::OSAKA];

/// Authority, its nonce, and whom it delegates to (zero: nobody any more).
type Entry = (Address, u64, Address);

/// A transaction with authorizations that calls `to`.
fn authorizing(sender: Address, to: Address, entries: &[Entry]) -> TxEnv {
    let mut tx = template(sender);
    tx.tx_type = 4;
    tx.gas_priority_fee = Some(2);
    tx.kind = TxKind::Call(to);
    tx.authorization_list = entries
        .iter()
        .map(|(authority, nonce, delegate)| {
            let authorization = Authorization { chain_id: U256::ZERO, address: *delegate, nonce: *nonce };
            let authority = RecoveredAuthority::Valid(*authority);
            Either::Right(RecoveredAuthorization::new_unchecked(authorization, authority))
        })
        .collect();
    tx
}

const STORE: u64 = 1;
const COUNTER: u64 = 2;
const PROBE: u64 = 3;
const FORWARDER: u64 = 4;

fn with_delegates(spec: SpecId) -> Case {
    let mut case = Case::new(spec);
    case.contract(address(STORE), store(), &[(1, U256::from(500))]);
    case.contract(address(COUNTER), counter(), &[]);
    case.contract(address(PROBE), probe(), &[]);
    case.contract(address(FORWARDER), forwarder(), &[]);
    case
}

#[test]
fn set_changed_and_cleared_as_target() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let authority = case.rich(10);
        let mut senders = (0..20).map(|number| address(20 + number)).collect::<Vec<_>>().into_iter();
        for number in 0..20 {
            case.rich(20 + number);
        }
        let mut next = || senders.next().unwrap();
        case.send(next(), authority, 1);
        case.call(next(), authority, &write(1, 7));
        case.push(authorizing(next(), address(99), &[(authority, 0, address(STORE))]));
        case.call(next(), authority, &write(1, 8));
        case.call(next(), authority, &ask(ADD, 1));
        case.call(next(), address(PROBE), &[word(authority)]);
        case.push(authorizing(next(), address(99), &[(authority, 1, address(COUNTER))]));
        case.call(next(), authority, &[]);
        case.call(next(), authority, &[]);
        case.call(next(), address(FORWARDER), &[word(authority), word(0)]);
        case.push(authorizing(next(), address(99), &[(authority, 2, Address::ZERO)]));
        case.call(next(), authority, &ask(ADD, 1));
        case.call(next(), address(PROBE), &[word(authority)]);
        case.send(next(), authority, 5);
        case.push(authorizing(next(), authority, &[(authority, 3, address(STORE))]));
        case.call(next(), authority, &ask(ADD, 1));
        case.call(next(), authority, &ask(READ, 0));
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 4), U256::from(9));
        assert_eq!([7, 8, 9].map(|index| output(&sequential, index)), [0, 1, 2].map(U256::from));
        assert_eq!(output_word(&sequential, 5, 1), U256::from(23), "the designator is 23 bytes");
        assert_eq!(output_word(&sequential, 12, 1), U256::ZERO);
        assert_eq!([15, 16].map(|index| output(&sequential, index)), [10, 3].map(U256::from));
    }
}

#[test]
fn set_changed_and_cleared_as_sender() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let authority = case.rich(10);
        let sponsor = case.rich(11);
        case.send(authority, address(99), 1);
        case.push(authorizing(sponsor, authority, &[(authority, 1, address(COUNTER))]));
        // Its nonce was raised by the authorization.
        let mut tx = template(authority);
        tx.kind = TxKind::Call(authority);
        tx.nonce = 2;
        case.transactions.push(tx.clone());
        case.push(authorizing(sponsor, authority, &[(authority, 3, address(STORE))]));
        tx.nonce = 4;
        tx.kind = TxKind::Call(address(98));
        tx.value = U256::from(3);
        case.transactions.push(tx.clone());
        case.push(authorizing(sponsor, authority, &[(authority, 5, Address::ZERO)]));
        tx.nonce = 6;
        case.transactions.push(tx.clone());
        // What it would have been without authorizations.
        tx.nonce = 3;
        case.transactions.push(tx);
        let sequential = case.check();
        assert!((0..7).all(|index| !skipped(&sequential, index)) && skipped(&sequential, 7));
    }
}

#[test]
fn a_sender_authorizes_itself() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let own = case.rich(10);
        let other = case.rich(11);
        // Its nonce is raised before its authorizations are looked at.
        case.transactions.push(authorizing(
            own,
            own,
            &[(own, 1, address(COUNTER)), (own, 2, address(STORE))],
        ));
        case.call(other, own, &ask(ADD, 1));
        let mut tx = authorizing(own, address(99), &[(own, 4, Address::ZERO), (own, 4, address(COUNTER))]);
        tx.nonce = 3;
        case.transactions.push(tx);
        case.call(other, own, &ask(ADD, 1));
        let mut tx = template(own);
        tx.nonce = 5;
        tx.kind = TxKind::Call(address(99));
        case.transactions.push(tx);
        let sequential = case.check_success();
        assert_eq!(output(&sequential, 1), U256::from(1));
    }
}

#[test]
fn authority_nonces_and_refunds() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let known = case.rich(10);
        let unknown = address(11);
        let empty = address(12);
        case.memory.insert_account(empty, AccountInfo::default(), []);
        let contract = address(STORE);
        let delegate = address(COUNTER);
        for number in 20..27 {
            case.rich(number);
        }
        // An account that exists gives a refund, one that does not gives none: until the block made it exist.
        case.push(authorizing(address(20), address(99), &[(known, 0, delegate), (unknown, 0, delegate)]));
        case.push(authorizing(address(21), address(99), &[(unknown, 1, delegate), (empty, 0, delegate)]));
        // Wrong nonces and an authority with code are passed over.
        case.push(authorizing(address(22), address(99), &[(known, 0, contract), (contract, 1, delegate)]));
        case.push(authorizing(address(23), address(99), &[(known, 1, Address::ZERO), (known, 2, delegate)]));
        // Paid by the block before it authorizes.
        case.send(address(24), address(13), 5);
        case.push(authorizing(address(25), address(99), &[(address(13), 0, delegate)]));
        case.push(authorizing(
            address(26),
            address(99),
            &[(empty, 1, Address::ZERO), (unknown, 7, delegate)],
        ));
        case.check_success();
    }
}

#[test]
fn an_authority_sends_in_the_same_block_with_nonces_in_doubt() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let authority = case.rich(10);
        let sponsor = case.rich(11);
        // Which of the two is included depends on the authorization between them.
        case.send(authority, address(99), 1);
        case.push(authorizing(sponsor, address(98), &[(authority, 1, address(STORE))]));
        case.send(authority, address(99), 2);
        case.send(authority, address(99), 3);
        let mut late = template(authority);
        late.nonce = 2;
        late.kind = TxKind::Call(address(99));
        case.transactions.push(late);
        // An authorization made stale by the authority's own transaction.
        case.push(authorizing(sponsor, authority, &[(authority, 2, address(COUNTER))]));
        let reader = case.rich(12);
        case.call(reader, authority, &ask(ADD, 1));
        let sequential = case.check();
        assert!(skipped(&sequential, 2));
    }
}

#[test]
fn a_delegate_is_deployed_in_the_block() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let authority = case.rich(10);
        let creator = case.rich(11);
        let delegate = creator.create(1);
        case.push(authorizing(creator, address(99), &[(authority, 0, delegate)]));
        let reader = case.rich(12);
        case.call(reader, authority, &ask(ADD, 1));
        assert_eq!(case.create(creator, crate::contracts::store_init(), 0), delegate);
        case.call(reader, authority, &ask(ADD, 1));
        case.call(creator, delegate, &ask(ADD, 1));
        case.call(reader, authority, &ask(ADD, 1));
        let sequential = case.check_success();
        assert_eq!([3, 5].map(|index| output(&sequential, index)), [1, 2].map(U256::from));
    }
}

#[test]
fn delegations_to_a_delegated_account_and_to_itself() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let (a, b) = (case.rich(10), case.rich(11));
        let senders: Vec<_> = (0..7).map(|number| case.rich(20 + number)).collect();
        case.push(authorizing(senders[0], address(99), &[(a, 0, b), (b, 0, address(COUNTER))]));
        case.call(senders[1], a, &[]);
        case.call(senders[2], b, &[]);
        case.push(authorizing(senders[3], address(99), &[(a, 1, a), (b, 1, a)]));
        case.call(senders[4], a, &[]);
        case.push(authorizing(senders[5], a, &[(a, 2, address(COUNTER)), (b, 2, Address::ZERO)]));
        case.call(senders[6], a, &[]);
        case.check();
    }
}

#[test]
fn the_beneficiary_delegates() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let senders: Vec<_> = (0..8).map(|number| case.rich(20 + number)).collect();
        case.send(senders[0], BENEFICIARY, 0);
        case.push(authorizing(senders[1], address(99), &[(BENEFICIARY, 0, address(STORE))]));
        case.call(senders[2], BENEFICIARY, &ask(ADD, 1));
        case.send(senders[3], address(99), 1);
        // Self-destruct in delegated code: no code is deleted, money moves.
        case.call(senders[4], BENEFICIARY, &destroy(address(97)));
        case.push(authorizing(senders[5], BENEFICIARY, &[(BENEFICIARY, 1, Address::ZERO)]));
        case.call(senders[6], BENEFICIARY, &ask(ADD, 1));
        case.call(senders[7], address(PROBE), &[word(BENEFICIARY)]);
        case.check_success();
    }
}

#[test]
fn a_plain_transfers_recipient_gets_a_delegation() {
    for spec in FORKS {
        let mut case = with_delegates(spec);
        let authority = address(10);
        let sponsor = case.rich(11);
        for round in 0..3 {
            for number in 0..2 {
                let sender = case.rich(20 + 10 * round + number);
                case.send(sender, authority, 5);
            }
            let delegate = if round == 1 { Address::ZERO } else { address(COUNTER) };
            case.push(authorizing(sponsor, authority, &[(authority, round, delegate)])).value = U256::from(3);
            let sender = case.rich(25 + 10 * round);
            case.call(sender, address(PROBE), &[word(authority)]);
        }
        case.check_success();
    }
}

/// revm's state takes the storage of an account that it knew without nonce and code for empty once the account was
/// touched. A delegation lets it be read.
#[test]
fn storage_of_a_codeless_account_goes_with_the_first_touch() {
    const TOUCHES: usize = 6;
    for spec in FORKS {
        for touch in 0..TOUCHES {
            let mut case = with_delegates(spec);
            let authority = address(10);
            let info = AccountInfo::default().with_balance(U256::from(5));
            case.memory.insert_account(
                authority,
                info,
                [(U256::from(1), U256::from(9)), (U256::from(2), U256::from(8))],
            );
            for number in 20..30 {
                case.rich(number);
            }
            case.contract_with(address(FORWARDER), forwarder(), U256::from(3), &[]);
            match touch {
                0 => (),
                1 => drop(case.send(address(20), authority, 3)),
                2 => drop(case.send(address(20), authority, 0)),
                3 => drop(case.call(address(20), address(FORWARDER), &[word(authority), word(3)])),
                4 => drop(case.call(address(20), address(FORWARDER), &[word(authority), word(0)])),
                // A fee of zero for the beneficiary.
                _ => {
                    case.env.beneficiary = authority;
                    let mut tx = template(address(20));
                    tx.kind = TxKind::Call(address(99));
                    tx.gas_price = case.env.basefee.into();
                    tx.gas_priority_fee = None;
                    case.push(tx);
                }
            }
            // Delegates and reads at once, and reads again when the delegation is there. What was read in the very
            // transaction that touched it first, revm keeps.
            let read = case.call(address(21), authority, &ask(READ, 1)).data.clone();
            case.transactions.pop();
            let mut tx = authorizing(address(21), authority, &[(authority, 0, address(STORE))]);
            tx.data = read;
            case.transactions.push(tx);
            case.call(address(22), authority, &ask(READ, 1));
            case.call(address(22), authority, &ask(READ, 2));
            case.call(address(23), authority, &write(1, 4));
            case.call(address(24), authority, &ask(READ, 1));
            case.check_success();
        }
    }
}
