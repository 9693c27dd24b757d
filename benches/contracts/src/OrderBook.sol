// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the exchange needs of its tokens.
interface IListedToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// An exchange of two tokens with an order book: best price first, then who came first.
///
/// Prices are whole numbers of quote units for a base unit. Orders wait in a list for each price, and trades are
/// settled between balances that the exchange holds.
contract OrderBook {
    struct Order {
        address owner;
        bool buys;
        uint64 price;
        uint32 next;
        uint256 amount;
    }

    struct Level {
        uint32 first;
        uint32 last;
        uint192 volume;
    }

    uint64 public constant LAST_PRICE = 1 << 20;

    IListedToken public base;
    IListedToken public quote;
    /// The best prices that anybody offers: 0 and LAST_PRICE where nobody does.
    uint64 public bestBid;
    uint64 public bestAsk;
    uint32 public orderCount;
    uint64 public lastPrice;
    mapping(uint256 id => Order) public orders;
    mapping(bool buys => mapping(uint64 price => Level)) public levels;
    mapping(address account => uint256) public baseOf;
    mapping(address account => uint256) public quoteOf;

    event Placed(uint256 indexed id, address indexed owner, bool buys, uint64 price, uint256 amount);
    event Traded(uint256 indexed id, address indexed taker, uint64 price, uint256 amount);
    event Cancelled(uint256 indexed id, uint256 amount);

    error BadPrice(uint64 price);
    error NotEnough(address account);
    error NotOwner(address caller, uint256 id);
    error TransferFailed();

    constructor(IListedToken base_, IListedToken quote_) {
        (base, quote) = (base_, quote_);
        bestAsk = LAST_PRICE;
    }

    function deposit(uint256 baseAmount, uint256 quoteAmount) external {
        baseOf[msg.sender] += baseAmount;
        quoteOf[msg.sender] += quoteAmount;
        if (!base.transferFrom(msg.sender, address(this), baseAmount)) revert TransferFailed();
        if (!quote.transferFrom(msg.sender, address(this), quoteAmount)) revert TransferFailed();
    }

    function withdraw(uint256 baseAmount, uint256 quoteAmount) external {
        baseOf[msg.sender] -= baseAmount;
        quoteOf[msg.sender] -= quoteAmount;
        if (!base.transfer(msg.sender, baseAmount)) revert TransferFailed();
        if (!quote.transfer(msg.sender, quoteAmount)) revert TransferFailed();
    }

    /// Trades with whoever offers a price as good, and leaves the rest as an order; returns its number, or 0.
    function place(bool buys, uint64 price, uint256 amount) external returns (uint32 id) {
        if (price == 0 || price >= LAST_PRICE) revert BadPrice(price);
        if (buys) _take(quoteOf, amount * price);
        else _take(baseOf, amount);
        uint256 left = _match(buys, price, amount);
        if (left == 0) return 0;
        id = ++orderCount;
        orders[id] = Order(msg.sender, buys, price, 0, left);
        Level storage level = levels[buys][price];
        if (level.last == 0) level.first = id;
        else orders[level.last].next = id;
        level.last = id;
        level.volume += uint192(left);
        if (buys && price > bestBid) bestBid = price;
        if (!buys && price < bestAsk) bestAsk = price;
        emit Placed(id, msg.sender, buys, price, left);
    }

    /// Takes an order back. It stays in its list, with nothing left, until that is passed.
    function cancel(uint32 id) external {
        Order storage order = orders[id];
        if (order.owner != msg.sender) revert NotOwner(msg.sender, id);
        uint256 amount = order.amount;
        order.amount = 0;
        levels[order.buys][order.price].volume -= uint192(amount);
        if (order.buys) quoteOf[msg.sender] += amount * order.price;
        else baseOf[msg.sender] += amount;
        emit Cancelled(id, amount);
    }

    function _match(bool buys, uint64 price, uint256 left) private returns (uint256) {
        uint64 best = buys ? bestAsk : bestBid;
        while (left != 0 && (buys ? best <= price && best < LAST_PRICE : best >= price && best > 0)) {
            Level storage level = levels[!buys][best];
            uint32 id = level.first;
            while (id != 0 && left != 0) {
                Order storage order = orders[id];
                uint256 amount = order.amount < left ? order.amount : left;
                if (amount != 0) {
                    left -= amount;
                    order.amount -= amount;
                    level.volume -= uint192(amount);
                    lastPrice = best;
                    _settle(buys, order.owner, price, best, amount);
                    emit Traded(id, msg.sender, best, amount);
                }
                if (order.amount == 0) id = order.next;
            }
            level.first = id;
            if (id != 0) break;
            level.last = 0;
            best = _nextPrice(!buys, best);
        }
        if (buys) bestAsk = best;
        else bestBid = best;
        return left;
    }

    /// The taker paid the own price ahead; the difference comes back.
    function _settle(bool buys, address maker, uint64 price, uint64 best, uint256 amount) private {
        if (buys) {
            baseOf[msg.sender] += amount;
            quoteOf[msg.sender] += amount * (price - best);
            quoteOf[maker] += amount * best;
        } else {
            quoteOf[msg.sender] += amount * best;
            baseOf[maker] += amount;
        }
    }

    /// The next price on a side at which somebody waits, within reach.
    function _nextPrice(bool buys, uint64 price) private view returns (uint64) {
        for (uint64 step = 1; step < 64; ++step) {
            if (buys && price <= step) return 0;
            uint64 next = buys ? price - step : price + step;
            if (!buys && next >= LAST_PRICE) return LAST_PRICE;
            if (levels[buys][next].first != 0) return next;
        }
        return buys ? 0 : LAST_PRICE;
    }

    function _take(mapping(address => uint256) storage balances, uint256 amount) private {
        uint256 balance = balances[msg.sender];
        if (balance < amount) revert NotEnough(msg.sender);
        unchecked {
            balances[msg.sender] = balance - amount;
        }
    }
}
