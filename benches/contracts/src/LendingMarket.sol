// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the market needs of its tokens.
interface ILentToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

interface IPriceOracle {
    function price(address asset) external view returns (uint256);
}

/// Lends one token against another as collateral.
///
/// Interest grows an index: what somebody owes is their share times the index. Collateral is worth what the oracle
/// says, and who owes more than a part of that can be liquidated by anybody, at a discount.
contract LendingMarket {
    /// How much of the collateral's value may be owed, and from which part on it is liquidated, in percent.
    uint256 public constant LOAN_TO_VALUE = 75;
    uint256 public constant THRESHOLD = 80;
    /// How much of a debt one liquidation may repay, and what the liquidator gets, in percent.
    uint256 public constant CLOSE_FACTOR = 50;
    uint256 public constant BONUS = 108;
    uint256 private constant ONE = 1e18;

    ILentToken public asset;
    ILentToken public collateral;
    IPriceOracle public oracle;
    /// Grows with interest, from 1e18.
    uint128 public index;
    uint64 public accrued;
    /// Sum of all shares of the debt, cash in the market, and shares of who supplied.
    uint256 public debtShares;
    uint256 public cash;
    uint256 public supplyShares;
    mapping(address account => uint256) public supplied;
    mapping(address account => uint256) public owedShares;
    mapping(address account => uint256) public collateralOf;

    event Accrued(uint256 index, uint256 debt);
    event Supplied(address indexed account, uint256 amount, uint256 shares);
    event Withdrawn(address indexed account, uint256 amount, uint256 shares);
    event CollateralChanged(address indexed account, uint256 collateral);
    event Borrowed(address indexed account, uint256 amount);
    event Repaid(address indexed payer, address indexed account, uint256 amount);
    event Liquidated(address indexed liquidator, address indexed account, uint256 repaid, uint256 seized);

    error NotEnoughCash(uint256 cash, uint256 wanted);
    error NotEnoughCollateral(address account, uint256 owed, uint256 limit);
    error Healthy(address account);
    error TooMuch(uint256 amount, uint256 most);
    error TransferFailed();

    constructor(ILentToken asset_, ILentToken collateral_, IPriceOracle oracle_) {
        (asset, collateral, oracle) = (asset_, collateral_, oracle_);
        (index, accrued) = (uint128(ONE), uint64(block.timestamp));
    }

    /// What all owe.
    function debt() public view returns (uint256) {
        return debtShares * index / ONE;
    }

    function owed(address account) public view returns (uint256) {
        return owedShares[account] * index / ONE;
    }

    /// Lets interest grow: the more of the money is lent, the faster.
    function accrue() public {
        uint256 elapsed = block.timestamp - accrued;
        if (elapsed == 0) return;
        uint256 lent = debt();
        uint256 used = lent == 0 ? 0 : lent * ONE / (lent + cash);
        // 2 % a year, and up to 20 % more.
        uint256 rate = (ONE / 50 + used / 5) / 365 days;
        index += uint128(index * rate * elapsed / ONE);
        accrued = uint64(block.timestamp);
        emit Accrued(index, debt());
    }

    function supply(uint256 amount) external returns (uint256 shares) {
        accrue();
        uint256 total = cash + debt();
        shares = supplyShares == 0 ? amount : amount * supplyShares / total;
        supplyShares += shares;
        supplied[msg.sender] += shares;
        cash += amount;
        _pull(asset, amount);
        emit Supplied(msg.sender, amount, shares);
    }

    function withdraw(uint256 shares) external returns (uint256 amount) {
        accrue();
        amount = shares * (cash + debt()) / supplyShares;
        supplied[msg.sender] -= shares;
        supplyShares -= shares;
        _takeCash(amount);
        _push(asset, amount);
        emit Withdrawn(msg.sender, amount, shares);
    }

    function depositCollateral(uint256 amount) external {
        collateralOf[msg.sender] += amount;
        _pull(collateral, amount);
        emit CollateralChanged(msg.sender, collateralOf[msg.sender]);
    }

    function withdrawCollateral(uint256 amount) external {
        accrue();
        collateralOf[msg.sender] -= amount;
        _checkLimit(msg.sender);
        _push(collateral, amount);
        emit CollateralChanged(msg.sender, collateralOf[msg.sender]);
    }

    function borrow(uint256 amount) external {
        accrue();
        // Rounded up, in the market's favour.
        uint256 shares = amount * ONE / index + 1;
        owedShares[msg.sender] += shares;
        debtShares += shares;
        _takeCash(amount);
        _checkLimit(msg.sender);
        _push(asset, amount);
        emit Borrowed(msg.sender, amount);
    }

    function repay(uint256 amount) external {
        accrue();
        _repay(msg.sender, amount);
    }

    /// Repays a part of somebody's debt, for their collateral at a discount.
    function liquidate(address account, uint256 amount) external returns (uint256 seized) {
        accrue();
        uint256 price = oracle.price(address(collateral));
        uint256 owes = owed(account);
        uint256 limit = collateralOf[account] * price / ONE * THRESHOLD / 100;
        if (owes <= limit) revert Healthy(account);
        uint256 most = owes * CLOSE_FACTOR / 100;
        if (amount > most) revert TooMuch(amount, most);
        seized = amount * BONUS / 100 * ONE / price;
        collateralOf[account] -= seized;
        _repay(account, amount);
        _push(collateral, seized);
        emit Liquidated(msg.sender, account, amount, seized);
    }

    function _repay(address account, uint256 amount) private {
        uint256 shares = amount * ONE / index;
        owedShares[account] -= shares;
        debtShares -= shares;
        cash += amount;
        _pull(asset, amount);
        emit Repaid(msg.sender, account, amount);
    }

    function _checkLimit(address account) private view {
        uint256 owes = owed(account);
        if (owes == 0) return;
        uint256 limit = collateralOf[account] * oracle.price(address(collateral)) / ONE * LOAN_TO_VALUE / 100;
        if (owes > limit) revert NotEnoughCollateral(account, owes, limit);
    }

    function _takeCash(uint256 amount) private {
        if (cash < amount) revert NotEnoughCash(cash, amount);
        cash -= amount;
    }

    function _pull(ILentToken token, uint256 amount) private {
        if (!token.transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
    }

    function _push(ILentToken token, uint256 amount) private {
        if (!token.transfer(msg.sender, amount)) revert TransferFailed();
    }
}
